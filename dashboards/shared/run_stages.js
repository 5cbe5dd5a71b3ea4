// The stages of a run in their order: how far each is, how long it took, what it said.

import {make, mount, redraw} from "./rows"
import {bar, clockOf, sign} from "./run_parts"

function runStages(model, host) {
  const clock = clockOf(model, host)

  const row = (stage) => {
    const box = make("li", `stage ${stage.state}`)
    const head = make("div", "head")
    const told = make("span", "muted told")
    told.append(make("b", `word ${stage.state}`, stage.word))
    if (stage.total > 1) { told.append(make("span", "", `${stage.done} of ${stage.total} tasks`)) }
    if (stage.attempt) { told.append(make("span", "", `attempt ${stage.attempt}`)) }
    told.append(clock.took(stage.started, stage.finished))
    head.append(sign(stage.state), make("span", "title", stage.name), told)
    box.append(head)
    if (stage.state === "running" || (stage.total > 1 && stage.state !== "completed")) {
      box.append(bar(stage.done, stage.total, `Progress of ${stage.name}`))
    }
    for (const warning of stage.warnings) {
      const said = make("p", "said")
      said.append(make("b", "", "Warning"), document.createTextNode(` ${warning}`))
      box.append(said)
    }
    if (stage.error) { box.append(make("p", "said wrong", stage.error)) }
    return box
  }

  return () => {
    const list = make("ol", "stages")
    list.setAttribute("aria-label", "Stages")
    list.append(...model.stages.map(row))
    redraw(host, model.stages.length ? [list] : [make("p", "none muted", model.message)])
  }
}

export function render({model}) {
  return mount(model, "run-stages", runStages, ["stages", "message"])
}
