// A small picture of a symbol, drawn from values alone.

const SVG = "http://www.w3.org/2000/svg"

export function shape(name, attributes) {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) { element.setAttribute(key, value) }
  return element
}

export function swatch(symbol) {
  const picture = shape("svg", {viewBox: "0 0 28 20", class: "swatch", "aria-hidden": "true"})
  const {fill = "none", fill_opacity = 1, stroke = "none", stroke_opacity = 1, opacity = 1} = symbol ?? {}
  const width = Math.min(symbol?.width ?? 1, 6)
  const paint = {fill, "fill-opacity": fill_opacity, stroke, "stroke-opacity": stroke_opacity, "stroke-width": width, opacity}
  if (symbol?.kind === "line") {
    picture.append(shape("path", {d: "M3 16 L11 6 L17 13 L25 4", ...paint, fill: "none", "stroke-linejoin": "round"}))
  } else if (symbol?.kind === "point") {
    picture.append(shape("circle", {cx: 14, cy: 10, r: Math.max(2, Math.min(8, symbol.size ?? 5)), ...paint}))
  } else if (symbol?.kind === "ramp") {
    symbol.colors.forEach((color, index, all) => picture.append(
      shape("rect", {x: index * 28 / all.length, y: 0, width: 28 / all.length + 0.2, height: 20, fill: color})))
  } else if (symbol) {
    const inset = width / 2 + 1
    picture.append(shape("rect", {x: inset, y: inset, width: 28 - 2 * inset, height: 20 - 2 * inset, rx: 2, ...paint}))
  }
  return picture
}
