// What lies on the map, from top to bottom: shown or hidden, opacity, order, legend.

import {action, make, mount, redraw} from "./rows"

function legendOf(legend) {
  const box = make("div", "legend")
  if (legend.kind === "classes") {
    box.classList.add("classes")
    for (const stop of legend.stops) {
      const swatch = make("i")
      swatch.style.background = stop.color
      const entry = make("span")
      entry.append(swatch, stop.label)
      box.append(entry)
    }
    return box
  }
  const bar = make("div", "bar")
  bar.style.background = `linear-gradient(to right, ${legend.stops.map((stop) => stop.color).join(", ")})`
  const labels = make("div", "labels")
  const last = legend.stops.length - 1
  for (const index of [0, Math.round(last / 2), last]) { labels.append(make("span", "", legend.stops[index].label)) }
  box.append(bar, labels)
  if (legend.units) { labels.lastChild.textContent += ` ${legend.units}` }
  return box
}

function layerList(model, host) {
  const send = (type, layer, rest = {}) => model.send_msg({type, id: layer.id, ...rest})
  const row = (layer, index, all) => {
    const box = make("li", "layer")
    const head = make("div", "head")
    const eye = action(layer.visible ? "shown" : "hidden", `${layer.visible ? "Hide" : "Show"} ${layer.title}`,
      `eye ${layer.id}`, () => send("visible", layer, {value: !layer.visible}))
    eye.setAttribute("aria-pressed", String(layer.visible))
    const name = make("button", "name")
    name.type = "button"
    name.dataset.key = `name ${layer.id}`
    name.title = layer.title
    if (layer.active) { name.setAttribute("aria-current", "true") }
    name.append(make("span", "title", layer.title), make("span", "muted", layer.subtitle))
    name.addEventListener("click", () => send("open", layer))
    head.append(eye)
    if (layer.color) {
      const swatch = make("i", "swatch")
      swatch.style.background = layer.color
      head.append(swatch)
    }
    head.append(name, action("remove", "Take it off the map", `remove ${layer.id}`, () => send("remove", layer)))
    const tools = make("div", "tools")
    const label = make("label")
    const slider = make("input")
    Object.assign(slider, {type: "range", min: 0, max: 100, value: Math.round(layer.opacity * 100)})
    slider.dataset.key = `opacity ${layer.id}`
    slider.setAttribute("aria-label", `Opacity of ${layer.title}, percent`)
    const percent = make("output", "", `${slider.value} %`)
    slider.addEventListener("input", () => {
      percent.textContent = `${slider.value} %`
      send("opacity", layer, {value: slider.value / 100})
    })
    label.append(slider, percent)
    tools.append(label,
      action("up", "Move up", `up ${layer.id}`, () => send("up", layer), index === 0),
      action("down", "Move down", `down ${layer.id}`, () => send("down", layer), index === all.length - 1),
      action("fit", "Zoom to it", `fit ${layer.id}`, () => send("fit", layer)))
    box.append(head)
    if (layer.error) { box.append(make("p", "wrong", layer.error)) }
    if (layer.note) { box.append(make("p", "note muted", layer.note)) }
    if (layer.legend) { box.append(legendOf(layer.legend)) }
    box.append(tools)
    return box
  }
  return () => {
    // A slider that is being dragged must not be replaced under the pointer.
    const held = host.getRootNode().activeElement
    if (held?.type === "range" && held.matches(":active")) { return }
    const list = make("ul")
    list.append(...model.layers.map(row))
    redraw(host, [list])
  }
}

export function render({model}) {
  return mount(model, "layers", layerList, ["layers"])
}
