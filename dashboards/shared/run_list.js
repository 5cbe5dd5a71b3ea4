// Runs, the newest first: how each stands, what it works on, since when and for how long.

import {instead, make, mount, redraw, skeleton, walkByArrows} from "./rows"
import {bar, clockOf, sign} from "./run_parts"

function runList(model, host) {
  const clock = clockOf(model, host)

  const row = (run) => {
    const button = make("button", "item run")
    button.type = "button"
    button.dataset.key = run.key
    if (run.key === model.selected) { button.setAttribute("aria-current", "true") }
    const text = make("span", "text")
    const state = make("span", "muted line")
    state.append(make("b", `word ${run.state}`, run.word))
    if (run.note) { state.append(make("span", "part note", run.note)) }
    if (run.who) { state.append(make("span", "part who", run.who)) }
    text.append(make("span", "title", run.title))
    if (run.subject) { text.append(make("span", "subject", run.subject)) }
    text.append(state)
    if (run.state === "running") { text.append(bar(run.done, run.total, "Progress of the stage")) }
    const when = make("span", "when")
    when.append(clock.age(run.created), clock.took(run.started, run.state === "queued" ? run.started : run.finished))
    button.append(sign(run.state), text, when)
    button.addEventListener("click", () => model.send_msg({type: "open", key: run.key}))
    return button
  }

  walkByArrows(host)

  return () => {
    if (model.loading && !model.runs.length) { redraw(host, skeleton(6)); return }
    if (!model.runs.length) { redraw(host, [instead(model.message)]); return }
    const list = make("ul")
    list.setAttribute("aria-label", "Runs, the newest first")
    for (const run of model.runs) {
      const item = make("li")
      item.append(row(run))
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
  return mount(model, "runs", runList, ["runs", "selected", "more", "loading", "message"])
}
