// What the catalogue holds: collections that open, items with a picture.

import {icon, instead, make, mount, redraw, skeleton} from "./rows"

function catalogue(model, host) {
  const item = (entry) => {
    const row = make("button", "item")
    row.type = "button"
    row.dataset.key = entry.key
    if (entry.key === model.selected) { row.setAttribute("aria-current", "true") }
    const picture = make("span", "picture")
    if (entry.thumbnail) {
      const image = make("img")
      image.loading = "lazy"
      image.alt = ""
      image.src = entry.thumbnail
      image.addEventListener("error", () => picture.replaceChildren(icon(entry.kind)))
      picture.append(image)
    } else {
      picture.append(icon(entry.kind))
    }
    const text = make("span", "text")
    text.append(make("span", "title", entry.title), make("span", "muted", entry.subtitle))
    row.append(picture, text)
    row.title = entry.title
    row.addEventListener("click", () => {
      for (const other of host.querySelectorAll("[aria-current]")) { other.removeAttribute("aria-current") }
      row.setAttribute("aria-current", "true")
      model.send_msg({type: "open", key: entry.key})
    })
    row.addEventListener("pointerenter", () => { model.hovered = entry.key })
    row.addEventListener("pointerleave", () => { if (model.hovered === entry.key) { model.hovered = "" } })
    const line = make("li")
    line.append(row)
    return line
  }
  const group = (entry) => {
    const section = make("section")
    const open = model.expanded.includes(entry.id)
    const head = make("button", "group")
    head.type = "button"
    head.dataset.key = `group ${entry.id}`
    head.title = entry.description || entry.title
    head.setAttribute("aria-expanded", String(open))
    head.append(icon("chevron"), make("span", "title", entry.title), make("span", "count", entry.count))
    head.addEventListener("click", () => {
      model.expanded = open ? model.expanded.filter((id) => id !== entry.id) : [...model.expanded, entry.id]
      draw()
    })
    section.append(head)
    if (open) {
      const list = make("ul")
      list.append(...entry.items.map(item))
      if (entry.more) {
        const line = make("li")
        const more = make("button", "more", entry.more)
        more.type = "button"
        more.dataset.key = `more ${entry.id}`
        more.addEventListener("click", () => model.send_msg({type: "more", group: entry.id}))
        line.append(more)
        list.append(line)
      }
      section.append(list)
    }
    return section
  }
  const draw = () => {
    host.setAttribute("aria-busy", String(model.loading))
    if (model.loading && !model.groups.length) { return redraw(host, skeleton(6)) }
    redraw(host, model.message.title && !model.groups.length ? [instead(model.message, "cube")] : model.groups.map(group))
  }
  return draw
}

export function render({model}) {
  return mount(model, "list", catalogue, ["groups", "selected", "loading", "message", "expanded"])
}
