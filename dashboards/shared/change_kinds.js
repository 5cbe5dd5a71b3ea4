// The legend of changed features: a colour, a sign and a word for each kind, which also filter the map and the list.

import {make, mount, redraw} from "./rows"

function changeKinds(model, host) {
  return () => {
    const group = make("div", "chips")
    group.setAttribute("role", "group")
    group.setAttribute("aria-label", "Show only changes of one kind")
    for (const {key, label, sign, color, count} of model.kinds) {
      const chip = make("button", "chip")
      chip.type = "button"
      chip.dataset.key = key || "all"
      chip.disabled = !count
      chip.setAttribute("aria-pressed", String(key === model.selected))
      if (sign) {
        const swatch = make("i", "kind", sign)
        swatch.style.background = color
        swatch.setAttribute("aria-hidden", "true")
        chip.append(swatch)
      }
      chip.append(make("span", "", label), make("span", "count", count.toLocaleString("en")))
      chip.addEventListener("click", () => model.send_msg({type: "filter", key}))
      group.append(chip)
    }
    redraw(host, [group])
  }
}

export function render({model}) {
  return mount(model, "legend-of-changes", changeKinds, ["kinds", "selected"])
}
