// A legend: a picture of each symbol with its name, or a ramp with its values.

import {make, mount} from "./rows"
import {swatch} from "./swatch"

// More than these stand in two columns.
const FEW = 7

function legendList(model, host) {
  return () => {
    const list = make("ul", model.entries.length > FEW ? "many" : "")
    for (const entry of model.entries) {
      const row = make("li", entry.kind === "ramp" ? "ramp-entry" : "entry")
      if (entry.kind === "ramp") {
        const bar = make("div", "ramp-bar")
        bar.style.background = `linear-gradient(to right, ${entry.stops.map(({color, at}) => `${color} ${at * 100}%`).join(", ")})`
        const labels = make("div", "labels")
        for (const label of entry.labels) { labels.append(make("span", "", label)) }
        row.append(bar, labels)
        if (entry.title) { row.prepend(make("div", "muted", entry.title)) }
      } else {
        row.append(swatch(entry.swatch), make("span", "", entry.label))
      }
      list.append(row)
    }
    host.replaceChildren(model.entries.length ? list : make("p", "none muted", model.message))
  }
}

export function render({model}) {
  return mount(model, "legend-list", legendList, ["entries", "message"])
}
