// What runs by itself: when it runs next, how it went last, and letting it rest, go on or run now.

import {make, mount, redraw} from "./rows"
import {sign} from "./run_parts"

function scheduleList(model, host) {
  const fact = (name, ...values) => {
    const row = make("div", "fact")
    row.append(make("dt", "muted", name))
    const value = make("dd")
    value.append(...values)
    row.append(value)
    return row
  }
  const button = (type, label, key, title) => {
    const element = make("button", "link", label)
    element.type = "button"
    element.dataset.key = `${type} ${key}`
    element.setAttribute("aria-label", `${label}: ${title}`)
    element.addEventListener("click", () => model.send_msg({type, key}))
    return element
  }
  const outcome = (one) => {
    const value = make("span", "outcome")
    if (one.state) { value.append(sign(one.state)) }
    value.append(make("span", "", `${one.outcome}, ${one.last}`))
    if (one.run) { value.append(button("open", "Look at it", one.run, one.title)) }
    return value
  }
  const row = (one) => {
    const box = make("li", one.paused ? "schedule paused" : "schedule")
    const head = make("div", "head")
    const text = make("span", "text")
    const title = make("span", "title", one.title)
    if (one.paused) { title.append(make("span", "badge", "paused")) }
    text.append(title, make("span", "muted", one.what))
    head.append(text)
    const facts = make("dl")
    facts.append(fact("Next", one.paused ? "When it is resumed" : one.next))
    facts.append(fact("Last", one.last ? outcome(one) : "Not yet"))
    box.append(head, facts)
    if (one.detail) { box.append(make("p", "said", one.detail)) }
    const tools = make("div", "links")
    for (const {type, label} of one.actions) { tools.append(button(type, label, one.key, one.title)) }
    if (one.actions.length) { box.append(tools) }
    return box
  }
  return () => {
    const list = make("ul")
    list.append(...model.schedules.map(row))
    redraw(host, model.schedules.length ? [list] : [make("p", "none muted", model.message)])
  }
}

export function render({model}) {
  return mount(model, "schedules", scheduleList, ["schedules", "message"])
}
