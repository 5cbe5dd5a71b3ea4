"""The address line of the browser, so that a link opens the same view and Back goes back."""

from typing import Any, ClassVar

import param

from dashboards.shared.map import Component


class Address(Component):
    """Shows the state in the address line.

    Panel's own Location makes an entry in the history for every change and does not hear Back; here an entry is made
    only where `page` changes.  Sends the message ``{type: "back", search}`` when a person goes back or forward.
    """

    search = param.String(default="", doc="The query of the address, with its question mark.")
    page = param.String(default="", doc="What counts as a page of the history; set together with `search`.")
    # Two properties come to the browser one after the other, in no order that one could rely on.
    place = param.Dict(default={"page": "", "search": ""}, doc="Both of them, as the browser takes them.")

    _esm: ClassVar[str] = "address.js"

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.param.watch(lambda *_: self.param.update(place=self._place()), ["page", "search"])
        self.place = self._place()

    def _place(self) -> dict[str, str]:
        return {"page": self.page, "search": self.search}
