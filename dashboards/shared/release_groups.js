// Which releases are listed: a word and a count for each group; an empty one can be chosen too.

import {make, mount, redraw} from "./rows"

function releaseGroups(model, host) {
  return () => {
    const group = make("div", "chips")
    group.setAttribute("role", "group")
    group.setAttribute("aria-label", "Which releases are listed")
    for (const {key, label, count} of model.groups) {
      const chip = make("button", "chip")
      chip.type = "button"
      chip.dataset.key = key
      chip.setAttribute("aria-pressed", String(key === model.selected))
      chip.append(make("span", "", label), make("span", "count", count.toLocaleString("en")))
      chip.addEventListener("click", () => model.send_msg({type: "list", key}))
      group.append(chip)
    }
    redraw(host, [group])
  }
}

export function render({model}) {
  return mount(model, "release-groups", releaseGroups, ["groups", "selected"])
}
