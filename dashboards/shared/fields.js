// Fields of a form that is described by values: each is made once, and later only told its new value, so that a person
// who types or drags is never thrown out of a field.

import {make} from "./rows"

let fields = 0

export function labelled(label, control, note = "") {
  const id = `field-${fields += 1}`
  const box = make("div", "field")
  const name = make("label", "", label)
  name.htmlFor = id
  control.id = id
  const wrong = make("p", "wrong")
  wrong.id = `${id}-wrong`
  wrong.setAttribute("role", "alert")
  box.append(name, control)
  if (note) { box.append(make("p", "muted", note)) }
  box.append(wrong)
  box.tell = (message) => {
    wrong.textContent = message ?? ""
    control.setAttribute("aria-invalid", String(Boolean(message)))
    if (message) { control.setAttribute("aria-describedby", wrong.id) } else { control.removeAttribute("aria-describedby") }
  }
  return box
}

export function input(type, attributes = {}) {
  const element = make("input")
  Object.assign(element, {type, spellcheck: false, autocomplete: "off", ...attributes})
  return element
}

export function select(options, value) {
  const element = make("select")
  setOptions(element, options, value)
  return element
}

export function setOptions(element, options, value) {
  element.replaceChildren(...options.map(({name, title}) => {
    const option = make("option", "", title ?? name)
    option.value = name
    return option
  }))
  element.value = value ?? ""
}

// A field that is being used keeps what the person does.
export function put(element, value) {
  const used = element.getRootNode().activeElement === element
  const text = value ?? ""
  if (!used && element.value !== String(text)) { element.value = text }
}

export function number(text) {
  const value = Number(text)
  return text.trim() === "" || !Number.isFinite(value) ? null : value
}

export function pressed(label, onClick, className = "button") {
  const element = make("button", className, label)
  element.type = "button"
  element.dataset.key = label
  element.addEventListener("click", onClick)
  return element
}
