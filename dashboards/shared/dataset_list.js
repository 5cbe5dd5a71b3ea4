// Managed datasets: how each stands, what it serves, when its source was asked last and is asked next.

import {instead, make, mount, redraw, skeleton, walkByArrows} from "./rows"
import {clockOf, sign} from "./run_parts"

function datasetList(model, host) {
  const clock = clockOf(model, host)

  const moment = (word, at) => {
    const part = make("span", "moment")
    if (at === null) {
      part.textContent = `never ${word}`
    } else {
      part.append(document.createTextNode(`${word} `), clock.age(at))
    }
    return part
  }

  const row = (one) => {
    const button = make("button", "item run dataset")
    button.type = "button"
    button.dataset.key = one.key
    if (one.key === model.selected) { button.setAttribute("aria-current", "true") }
    const text = make("span", "text")
    const state = make("span", "muted line")
    state.append(make("b", `word ${one.state}`, one.word))
    if (one.note) { state.append(make("span", "part note", one.note)) }
    const facts = make("span", "subject", one.facts)
    facts.title = one.facts
    const times = make("span", "muted times")
    times.append(moment("checked", one.checked), moment("updated", one.updated))
    text.append(make("span", "title", one.title), state, facts, times, make("span", "muted", one.next))
    button.append(sign(one.sign), text)
    button.addEventListener("click", () => model.send_msg({type: "open", key: one.key}))
    return button
  }

  walkByArrows(host)

  return () => {
    if (model.loading && !model.datasets.length) { redraw(host, skeleton(4)); return }
    if (!model.datasets.length) { redraw(host, [instead(model.message)]); return }
    const list = make("ul")
    list.setAttribute("aria-label", "Managed datasets, those that wait for a person first")
    for (const one of model.datasets) {
      const item = make("li")
      item.append(row(one))
      list.append(item)
    }
    redraw(host, [list])
  }
}

export function render({model}) {
  return mount(model, "runs", datasetList, ["datasets", "selected", "loading", "message"])
}
