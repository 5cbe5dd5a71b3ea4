// What both lists share: icons, small elements, and redrawing without losing the keyboard focus.

const ICONS = {
  raster: "M3 3h18v18H3zm2 2v4h4V5zm6 0v4h4V5zm6 0v4h2V5zM5 11v4h4v-4zm6 0v4h4v-4zm6 0v4h2v-4zM5 17v2h4v-2zm6 0v2h4v-2zm6 0v2h2v-2z",
  vector: "M4 3a2 2 0 0 1 1.73 3l3.1 10.1L18.2 9.5A2 2 0 1 1 19.4 11l-9.7 6.9A2 2 0 1 1 7 16.8L3.9 6.7A2 2 0 0 1 4 3",
  cube: "M12 2 3 7v10l9 5 9-5V7zm0 2.3L17.8 7.5 12 10.7 6.2 7.5zM5 9.2l6 3.3v6.5l-6-3.3zm14 0v6.5l-6 3.3v-6.5z",
  other: "M6 2h8l6 6v14H4V2zm7 1.5V9h5.5z",
  chevron: "M9.3 5.3 16 12l-6.7 6.7-1.4-1.4 5.3-5.3-5.3-5.3z",
  shown: "M12 5c5 0 9 4.5 10 7-1 2.5-5 7-10 7S3 14.5 2 12c1-2.5 5-7 10-7m0 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9m0 2a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5",
  hidden: "m3.3 2 18.7 18.7-1.3 1.3-3.5-3.5A11 11 0 0 1 12 19c-5 0-9-4.5-10-7 .5-1.3 1.800-3.100 3.7-4.6L2 3.3zM12 5c5 0 9 4.5 10 7-.4 1-1.3 2.4-2.6 3.7l-3.200-3.200.2-.5A4.5 4.5 0 0 0 12 7.5l-.5.1-2-2C10.3 5.200 11.100 5 12 5",
  up: "m12 7 7 7-1.4 1.4-5.6-5.6-5.6 5.6L5 14z",
  down: "m12 17-7-7 1.4-1.4 5.6 5.6 5.6-5.6L19 10z",
  fit: "M4 4h6v2H6v4H4zm10 0h6v6h-2V6h-4zM4 14h2v4h4v2H4zm14 0h2v6h-6v-2h4z",
  copy: "M8 3h12v14H8zm2 2v10h8V5zM4 7h2v12h10v2H4z",
  nest: "M5 4h2v6h6V7l5 4.500-5 4.500v-4H5zM11 18h8v2h-8z",
  remove: "m6.4 5 5.6 5.6L17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6 10.6 12 5 6.4z",
}

export function make(tag, className, text) {
  const element = document.createElement(tag)
  if (className) { element.className = className }
  if (text !== undefined && text !== null) { element.textContent = text }
  return element
}

export function icon(name) {
  const holder = make("span", "icon")
  holder.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name] ?? ICONS.other}"/></svg>`
  return holder
}

export function action(name, label, key, onClick, disabled = false) {
  const element = make("button", "action")
  element.type = "button"
  element.title = label
  element.setAttribute("aria-label", label)
  element.dataset.key = key
  element.disabled = disabled
  element.append(icon(name))
  element.addEventListener("click", onClick)
  return element
}

// Put the focus back on the element of the same key, so that a redraw does not throw a keyboard user out.
export function redraw(host, content) {
  const focused = host.getRootNode().activeElement?.dataset?.key
  const {scrollTop} = host
  host.replaceChildren(...content)
  host.scrollTop = scrollTop
  if (focused) { host.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({preventScroll: true}) }
}

export function skeleton(rows) {
  return Array.from({length: rows}, (_, index) => {
    const row = make("div", "skeleton")
    row.style.setProperty("--wide", `${70 - 9 * (index % 4)}%`)
    row.append(make("i"), make("b"), make("b"))
    return row
  })
}

export function mount(model, className, drawing, properties) {
  const host = make("div", className)
  const draw = drawing(model, host)
  model.on(properties, draw)
  draw()
  return host
}

// The arrow keys go from one button of a list to the next.
export function walkByArrows(host) {
  host.addEventListener("keydown", (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key]
    if (!step) { return }
    const rows = [...host.querySelectorAll("button")]
    const here = rows.indexOf(host.getRootNode().activeElement)
    const next = rows[here + step]
    if (here >= 0 && next) {
      next.focus()
      event.preventDefault()
    }
  })
}

// What stands in the place of a list without rows: why, and what to do.
export function instead({title, text, code}, sign = "other") {
  const box = make("div", "empty")
  box.append(icon(sign), make("h3", "", title), make("p", "", text))
  if (code) { box.append(make("code", "", code)) }
  return box
}
