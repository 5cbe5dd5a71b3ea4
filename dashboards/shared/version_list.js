// The versions of a style, the newest first: what changed, by whom and when; look at one, compare it, go back to it.

import {make, mount, redraw} from "./rows"

function versionList(model, host) {
  const row = (version) => {
    const box = make("li", "version")
    if (version.shown) { box.classList.add("current") }
    const head = make("div", "head")
    const text = make("span", "text")
    const title = make("span", "title", version.title)
    if (version.badge) { title.append(make("span", "badge", version.badge)) }
    text.append(title, make("span", "muted", version.subtitle))
    head.append(text)
    box.append(head)
    if (version.note) { box.append(make("p", "note", version.note)) }
    const tools = make("div", "tools")
    for (const {type, label, pressed} of version.actions) {
      const element = make("button", "link", label)
      element.type = "button"
      element.dataset.key = `${type} ${version.key}`
      if (pressed !== undefined) { element.setAttribute("aria-pressed", String(pressed)) }
      element.setAttribute("aria-label", `${label}: ${version.title}`)
      element.addEventListener("click", () => model.send_msg({type, key: version.key}))
      tools.append(element)
    }
    box.append(tools)
    return box
  }
  return () => {
    const list = make("ul")
    list.append(...model.versions.map(row))
    redraw(host, model.versions.length ? [list] : [make("p", "none muted", model.message)])
  }
}

export function render({model}) {
  return mount(model, "versions", versionList, ["versions", "message"])
}
