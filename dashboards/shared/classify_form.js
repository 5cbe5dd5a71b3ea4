// How a layer is divided into classes: by which attribute, by which method, in which colours; and what comes of it.

import {make} from "./rows"
import {input, labelled, number, pressed, put, select, setOptions} from "./fields"
import {shape} from "./swatch"

const WIDTH = 312
const HEIGHT = 96

function histogram({edges, counts, colors, breaks, title}) {
  const picture = shape("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "histogram", role: "img", "aria-label": title})
  const most = Math.max(...counts, 1)
  const [low, high] = [edges[0], edges[edges.length - 1]]
  const x = (value) => high > low ? (value - low) / (high - low) * WIDTH : WIDTH / 2
  counts.forEach((count, index) => {
    const height = count ? Math.max(2, count / most * (HEIGHT - 8)) : 0
    const [left, right] = [x(edges[index]), x(edges[index + 1])]
    const bar = shape("rect", {x: left, y: HEIGHT - height, width: Math.max(0.5, right - left - 0.5), height, fill: colors[index]})
    const told = shape("title", {})
    told.textContent = `${count}`
    bar.append(told)
    picture.append(bar)
  })
  for (const at of breaks) {
    picture.append(shape("line", {x1: x(at), x2: x(at), y1: 0, y2: HEIGHT, class: "break"}))
  }
  return picture
}

function classes(rows) {
  const table = make("table")
  const most = Math.max(...rows.map((row) => row.count), 1)
  for (const row of rows) {
    const line = make("tr")
    const colour = make("i")
    colour.style.background = row.color
    const bar = make("b")
    bar.style.width = `${row.count / most * 100}%`
    bar.style.background = row.color
    const cells = [make("td", "key"), make("td", "label", row.label), make("td", "share"), make("td", "count", String(row.count))]
    cells[0].append(colour)
    cells[2].append(bar)
    line.append(...cells)
    table.append(line)
  }
  return table
}

export function render({model}) {
  const host = make("div", "classify")
  const ask = (what) => model.send_msg({type: "ask", ...what})
  const attribute = select([], "")
  const method = select([], "")
  const count = input("number", {min: 2, max: 12, className: "short"})
  attribute.addEventListener("change", () => ask({attribute: attribute.value}))
  method.addEventListener("change", () => ask({method: method.value}))
  count.addEventListener("change", () => ask({classes: number(count.value)}))
  const fields = {attribute: labelled("Attribute", attribute), method: labelled("Method", method), classes: labelled("Classes", count)}
  const pair = make("div", "pair")
  pair.append(fields.method, fields.classes)
  const ramps = make("div", "ramps")
  ramps.setAttribute("role", "radiogroup")
  ramps.setAttribute("aria-label", "Colours")
  const reverse = input("checkbox")
  reverse.addEventListener("change", () => ask({reversed: reverse.checked}))
  const turned = make("label", "check")
  turned.append(reverse, "Reversed")
  const preview = make("div", "preview")
  const wrong = make("p", "wrong")
  wrong.setAttribute("role", "alert")
  const apply = pressed("Use these classes", () => model.send_msg({type: "apply"}), "button primary")
  host.append(fields.attribute, pair, ramps, turned, wrong, preview, apply)
  const draw = () => {
    const {form} = model
    if (host.getRootNode().activeElement !== attribute) { setOptions(attribute, form.attributes ?? [], form.attribute) }
    setOptions(method, form.methods ?? [], form.method)
    put(count, form.classes)
    reverse.checked = Boolean(form.reversed)
    const focused = host.getRootNode().activeElement?.dataset?.key
    ramps.replaceChildren(...(form.ramps ?? []).map(({name, title, colors}) => {
      const one = make("button", "ramp")
      one.type = "button"
      one.title = title
      one.dataset.key = `ramp ${name}`
      one.setAttribute("role", "radio")
      one.setAttribute("aria-label", title)
      one.setAttribute("aria-checked", String(name === form.ramp))
      for (const color of colors) {
        const part = make("i")
        part.style.background = color
        one.append(part)
      }
      one.addEventListener("click", () => ask({ramp: name}))
      return one
    }))
    if (focused) { host.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({preventScroll: true}) }
    wrong.textContent = form.error ?? ""
    const parts = []
    if (form.busy && !form.rows) {
      const rest = make("div", "skeleton block")
      rest.append(make("b"))
      parts.push(rest)
    }
    if (form.histogram) {
      parts.push(histogram(form.histogram))
      const ends = make("div", "labels")
      ends.append(make("span", "", form.histogram.low), make("span", "", form.histogram.high))
      parts.push(ends)
    }
    if (form.rows) { parts.push(classes(form.rows)) }
    for (const note of form.notes ?? []) { parts.push(make("p", "muted", note)) }
    preview.replaceChildren(...parts)
    apply.disabled = !form.rows
  }
  model.on("form", draw)
  draw()
  return host
}
