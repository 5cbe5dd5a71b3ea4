// One rule as a form: name, condition, scales, and the properties that it sets. Python says which fields there are.

import {action, make} from "./rows"
import {input, labelled, number, pressed, put, select, setOptions} from "./fields"

const OPERATORS = [
  {name: "=", title: "is"}, {name: "<>", title: "is not"}, {name: "<", title: "<"}, {name: "<=", title: "≤"},
  {name: ">", title: ">"}, {name: ">=", title: "≥"}, {name: "like", title: "is like"}, {name: "in", title: "is one of"},
  {name: "between", title: "is between"}, {name: "isNull", title: "is missing"}, {name: "isNotNull", title: "is there"},
]
const LIVE_MS = 60

function colourField(form, field, send) {
  const box = make("div", "colour")
  const picker = input("color")
  const text = input("text", {placeholder: field.inherited ?? "#rrggbb or a name", className: "hex"})
  let last = 0
  picker.addEventListener("input", () => {
    text.value = picker.value
    const now = performance.now()
    if (now - last > LIVE_MS) {
      last = now
      send("set", {path: field.path, value: picker.value, live: true})
    }
  })
  picker.addEventListener("change", () => send("set", {path: field.path, value: picker.value}))
  text.addEventListener("change", () => send("set", {path: field.path, value: text.value.trim() || null}))
  const wrap = labelled(field.label, text)
  picker.setAttribute("aria-label", `${field.label}, choose`)
  text.before(box)
  box.append(picker, text)
  wrap.show = ({value, inherited, error}) => {
    picker.value = [value, inherited].find((text) => /^#[0-9a-f]{6}$/.test(text ?? "")) ?? "#808080"
    picker.classList.toggle("inherited", value === null)
    text.placeholder = inherited ?? "#rrggbb or a name"
    put(text, value)
    wrap.tell(error)
  }
  return wrap
}

function numberField(form, field, send) {
  const box = make("div", "number")
  const slider = input("range", {min: field.min, max: field.max, step: field.step})
  const text = input("text", {inputMode: "decimal", className: "short"})
  let last = 0
  slider.addEventListener("input", () => {
    text.value = slider.value
    const now = performance.now()
    if (now - last > LIVE_MS) {
      last = now
      send("set", {path: field.path, value: Number(slider.value), live: true})
    }
  })
  slider.addEventListener("change", () => send("set", {path: field.path, value: Number(slider.value)}))
  text.addEventListener("change", () => send("set", {path: field.path, value: text.value.trim() === "" ? null : text.value.trim()}))
  const wrap = labelled(field.unit ? `${field.label}, ${field.unit}` : field.label, text)
  slider.setAttribute("aria-label", `${field.label}, slider`)
  text.before(box)
  box.append(slider, text)
  wrap.show = ({value, inherited, error}) => {
    const amounts = [value, inherited].filter((amount) => typeof amount === "number")
    put(slider, amounts[0] ?? field.min)
    slider.classList.toggle("inherited", value === null)
    text.placeholder = inherited ?? ""
    put(text, value)
    wrap.tell(error)
  }
  return wrap
}

function choiceField(form, field, send) {
  const control = select([{name: "", title: field.inherited ? `as before (${field.inherited})` : "as before"},
    ...field.options.map((name) => ({name}))], field.value)
  control.addEventListener("change", () => send("set", {path: field.path, value: control.value || null}))
  const wrap = labelled(field.label, control)
  wrap.show = ({value, error}) => {
    put(control, value)
    wrap.tell(error)
  }
  return wrap
}

function textField(form, field, send) {
  const control = input("text", {placeholder: field.placeholder ?? ""})
  control.addEventListener("change", () => send("set", {path: field.path, value: control.value || null}))
  const wrap = labelled(field.label, control)
  wrap.show = ({value, error}) => {
    put(control, value)
    wrap.tell(error)
  }
  return wrap
}

const FIELDS = {color: colourField, number: numberField, choice: choiceField, text: textField}

function conditionBox(form, send) {
  const {condition, attributes} = form
  const box = make("fieldset")
  box.append(make("legend", "", "Where"))
  const shown = []
  const links = make("div", "links")
  if (condition.mode === "text") {
    const area = make("textarea")
    Object.assign(area, {rows: 3, spellcheck: false, placeholder: "population > 1000000 AND continent = 'Africa'"})
    area.addEventListener("change", () => send("condition_text", {text: area.value}))
    const wrap = labelled("Condition, as CQL2 text", area)
    box.append(wrap)
    shown.push((now) => {
      put(area, now.condition.text)
      wrap.tell(now.condition.error)
    })
  } else {
    const rows = condition.rows.map((row) => ({...row}))
    const tell = () => send("condition", {join: condition.join, rows})
    if (rows.length > 1) {
      const join = select([{name: "and", title: "all of these hold"}, {name: "or", title: "any of these holds"}], condition.join)
      join.setAttribute("aria-label", "How the conditions are joined")
      join.addEventListener("change", () => send("condition", {join: join.value, rows}))
      box.append(join)
    }
    const known = attributes.map(({name, title}) => ({name, title}))
    rows.forEach((row, index) => {
      const line = make("div", "condition")
      const names = known.some(({name}) => name === row.attribute) ? known : [{name: row.attribute}, ...known]
      const attribute = select(names, row.attribute)
      attribute.setAttribute("aria-label", "Attribute")
      attribute.dataset.key = `attribute ${index}`
      attribute.addEventListener("change", () => {
        row.attribute = attribute.value
        tell()
      })
      const operator = select(OPERATORS, row.op)
      operator.setAttribute("aria-label", "Comparison")
      operator.dataset.key = `operator ${index}`
      operator.addEventListener("change", () => {
        row.op = operator.value
        tell()
      })
      line.append(attribute, operator,
        action("remove", "Remove this condition", `drop ${index}`, () => {
          rows.splice(index, 1)
          tell()
        }))
      if (!["isNull", "isNotNull"].includes(row.op)) {
        const hints = {in: "a, b, c", between: "low, high", like: "A% (% is anything)"}
        const value = input("text", {className: "value", placeholder: hints[row.op] ?? "value"})
        value.value = row.value
        value.setAttribute("aria-label", "Value")
        value.dataset.key = `value ${index}`
        const values = attributes.find(({name}) => name === row.attribute)?.values ?? []
        if (values.length) {
          const list = make("datalist")
          list.id = `values-${index}`
          setOptions(list, values.map((name) => ({name: String(name), title: ""})), "")
          value.setAttribute("list", list.id)
          line.append(list)
        }
        value.addEventListener("change", () => {
          row.value = value.value
          tell()
        })
        shown.push((now) => {
          row.value = now.condition.rows[index]?.value ?? row.value
          put(value, row.value)
        })
        line.append(value)
      }
      box.append(line)
    })
    const wrong = make("p", "wrong")
    wrong.setAttribute("role", "alert")
    shown.push((now) => { wrong.textContent = now.condition.error ?? "" })
    box.append(wrong)
    if (!rows.length) { box.append(make("p", "muted", "It applies to every feature.")) }
    const add = pressed("Add a condition", () => {
      rows.push({attribute: attributes[0]?.name ?? "", op: "=", value: ""})
      tell()
    }, "link")
    add.disabled = !attributes.length
    links.append(add)
  }
  if (condition.mode === "text" ? condition.can_rows : true) {
    links.append(pressed(condition.mode === "text" ? "As a form" : "As CQL2 text",
      () => send("mode", {value: condition.mode === "text" ? "rows" : "text"}), "link"))
  }
  box.append(links)
  if (condition.fixed) { box.append(make("p", "muted", condition.fixed)) }
  return [box, (now) => shown.forEach((show) => show(now))]
}

function scaleBox(form, send) {
  const box = make("fieldset")
  box.append(make("legend", "", "Visible between the scales"))
  const row = make("div", "pair")
  const field = (label, name) => {
    const control = input("text", {inputMode: "numeric", placeholder: "any", className: "short"})
    control.addEventListener("change", () => send("scale", {end: name, value: control.value.trim() || null}))
    const wrap = labelled(label, control)
    wrap.show = (now) => {
      put(control, now.scale[name])
      wrap.tell(now.scale[`${name}_error`])
    }
    return wrap
  }
  const near = field("closest, 1 :", "above")
  const far = field("farthest, 1 :", "below")
  row.append(near, far)
  box.append(row)
  const here = pressed("From this scale on", () => send("scale_here", {}), "link")
  box.append(here)
  return [box, (now) => {
    near.show(now)
    far.show(now)
  }]
}

function stopsBox(form, send) {
  const box = make("fieldset")
  box.append(make("legend", "", form.stops_title))
  const bar = make("div", "bar")
  box.append(bar)
  const stops = form.stops.map((stop) => ({...stop}))
  const tell = (live = false) => send("stops", {stops, live})
  stops.forEach((stop, index) => {
    const line = make("div", "stop")
    const value = input("text", {inputMode: "decimal", className: "short", value: stop.value})
    value.setAttribute("aria-label", `Value of stop ${index + 1}`)
    value.dataset.key = `stop ${index}`
    value.addEventListener("change", () => {
      if (number(value.value) === null) {
        value.setAttribute("aria-invalid", "true")
        return
      }
      stop.value = number(value.value)
      tell()
    })
    const color = input("color", {value: stop.color})
    color.setAttribute("aria-label", `Colour of stop ${index + 1}`)
    color.dataset.key = `colour ${index}`
    color.addEventListener("input", () => {
      stop.color = color.value
      tell(true)
    })
    color.addEventListener("change", () => {
      stop.color = color.value // an answer to an earlier one may have come since
      tell()
    })
    line.append(color, value, action("remove", "Remove this stop", `stopless ${index}`, () => {
        stops.splice(index, 1)
        tell()
      }, stops.length <= 2))
    line.update = (now) => {
      Object.assign(stop, now)
      put(value, now.value)
      put(color, now.color)
    }
    box.append(line)
  })
  const wrong = make("p", "wrong")
  wrong.setAttribute("role", "alert")
  box.append(wrong, pressed("Add a stop", () => send("add_stop", {}), "link"))
  return [box, (now) => {
    bar.style.background = `linear-gradient(to right, ${now.stops.map((stop) => stop.color).join(", ")})`
    box.querySelectorAll(".stop").forEach((line, index) => line.update(now.stops[index]))
    wrong.textContent = now.stops_error ?? ""
  }]
}

function build(model, host) {
  const {form} = model
  const send = (type, rest) => model.send_msg({type, key: form.key, ...rest})
  const shows = []
  const body = make("div", "form")
  const name = input("text", {placeholder: "Unnamed", maxLength: 200})
  name.dataset.key = "name"
  name.addEventListener("change", () => send("name", {value: name.value.trim()}))
  const named = labelled("Name", name)
  const tools = make("div", "rule-tools")
  const up = action("up", "Apply it earlier (Alt + arrow up in the list)", "up", () => send("up", {}))
  const down = action("down", "Apply it later (Alt + arrow down in the list)", "down", () => send("down", {}))
  tools.append(up, down, action("copy", "Duplicate this rule", "copy", () => send("copy", {})),
    action("nest", "Add a rule within this one", "nest", () => send("nest", {})),
    action("remove", "Delete this rule", "remove", () => send("remove", {})))
  const head = make("div", "rule-head")
  head.append(named, tools)
  shows.push((now) => {
    put(name, now.name)
    up.disabled = !now.can_up
    down.disabled = !now.can_down
  })
  body.append(head)
  const groups = new Map()
  form.fields.forEach((field, index) => {
    if (!groups.has(field.group)) {
      const box = make("fieldset")
      box.append(make("legend", "", field.group))
      groups.set(field.group, box)
    }
    const made = FIELDS[field.type](form, field, send)
    shows.push((now) => made.show(now.fields[index]))
    groups.get(field.group).append(made)
  })
  const [where, showWhere] = conditionBox(form, send)
  const [scale, showScale] = scaleBox(form, send)
  shows.push(showWhere, showScale)
  if (form.stops) {
    const [stops, showStops] = stopsBox(form, send)
    shows.push(showStops)
    body.append(stops)
  }
  // What is changed most comes first.
  const later = ["Label", "As a whole"]
  body.append(...[...groups].filter(([title]) => !later.includes(title)).map(([, box]) => box))
  if (!form.is_coverage) { body.append(where) }
  body.append(scale, ...later.filter((title) => groups.has(title)).map((title) => groups.get(title)))
  const focused = host.getRootNode().activeElement?.dataset?.key
  host.replaceChildren(body)
  if (focused) { host.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({preventScroll: true}) }
  return () => shows.forEach((show) => show(model.form))
}

// What makes another form, as against other values in the same one.
const kind = (form) => JSON.stringify([form.key, form.condition.mode, form.condition.can_rows, form.condition.join,
  form.condition.rows.map(({attribute, op}) => [attribute, op]), form.condition.fixed, form.fields.map(({path}) => path),
  form.stops?.length, form.attributes.length])

export function render({model}) {
  const host = make("div", "rule-form")
  let known = ""
  let show = () => {}
  const draw = () => {
    if (!model.form?.key) {
      host.replaceChildren()
      known = ""
      return
    }
    if (kind(model.form) !== known) {
      known = kind(model.form)
      show = build(model, host)
    }
    show()
  }
  model.on("form", draw)
  draw()
  return host
}
