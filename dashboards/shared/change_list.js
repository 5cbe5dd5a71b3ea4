// The features that differ between two versions: what happened to each, its key, and the columns that differ.

import {make, mount, redraw} from "./rows"

function changeList(model, host) {
  const row = (one) => {
    const line = make("tr")
    if (one.key === model.selected) { line.setAttribute("aria-current", "true") }
    const change = make("td")
    const kind = make("i", "kind", one.sign)
    kind.style.background = one.color
    kind.setAttribute("aria-hidden", "true")
    change.append(kind, document.createTextNode(one.change))
    const named = make("td")
    const button = make("button", "link", one.name || "(no key)")
    button.type = "button"
    button.dataset.key = one.key
    button.setAttribute("aria-label", `Show on the map: ${one.name}`)
    named.append(button)
    line.append(change, named)
    if (model.items) { line.append(make("td", "", one.item)) }
    line.append(make("td", "columns", one.columns))
    line.addEventListener("click", () => model.send_msg({type: "open", key: one.key}))
    return line
  }
  return () => {
    if (!model.rows.length) {
      redraw(host, [make("p", "none muted", model.message)])
      return
    }
    const table = make("table")
    const head = make("thead")
    const names = make("tr")
    for (const name of ["Change", "Key", ...(model.items ? ["Item"] : []), "What differs"]) {
      const cell = make("th", "", name)
      cell.scope = "col"
      names.append(cell)
    }
    head.append(names)
    const body = make("tbody")
    body.append(...model.rows.map(row))
    table.append(head, body)
    const content = [table]
    if (model.more) {
      const more = make("button", "more", model.more)
      more.type = "button"
      more.dataset.key = "more"
      more.addEventListener("click", () => model.send_msg({type: "more"}))
      content.push(more)
    }
    redraw(host, content)
  }
}

export function render({model}) {
  return mount(model, "changes", changeList, ["rows", "selected", "items", "more", "message"])
}
