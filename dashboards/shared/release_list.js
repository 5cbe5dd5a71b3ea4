// Releases: what each is of, how much would become public, how it stands, whose it is and since when.

import {instead, make, mount, redraw, skeleton, walkByArrows} from "./rows"
import {clockOf, sign} from "./run_parts"

function releaseList(model, host) {
  const clock = clockOf(model, host)

  const row = (one) => {
    const button = make("button", "item run release")
    button.type = "button"
    button.dataset.key = one.key
    if (one.key === model.selected) { button.setAttribute("aria-current", "true") }
    const text = make("span", "text")
    const place = make("span", "subject", one.place)
    place.title = one.place
    const state = make("span", "muted line")
    state.append(make("b", `word ${one.sign}`, one.word))
    if (one.who) { state.append(make("span", "part who", one.who)) }
    if (one.note) {
      const note = make("span", "part note", one.note)
      note.title = one.note
      state.append(note)
    }
    text.append(make("span", "title", one.title), place, make("span", "muted", one.facts), state)
    const when = make("span", "when")
    when.append(clock.age(one.since))
    button.append(sign(one.sign), text, when)
    button.addEventListener("click", () => model.send_msg({type: "open", key: one.key}))
    return button
  }

  walkByArrows(host)

  return () => {
    if (model.loading && !model.releases.length) { redraw(host, skeleton(4)); return }
    if (!model.releases.length) { redraw(host, [instead(model.message)]); return }
    const list = make("ul")
    list.setAttribute("aria-label", model.label)
    for (const one of model.releases) {
      const item = make("li")
      item.append(row(one))
      list.append(item)
    }
    const content = [list]
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
  return mount(model, "runs", releaseList, ["releases", "selected", "label", "more", "loading", "message"])
}
