// A document as text: to write (JSON, with what is wrong marked at its place), to read and to take along, or to compare.

import {Compartment, EditorState} from "@codemirror/state"
import {EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers} from "@codemirror/view"
import {defaultKeymap, history, historyKeymap, indentWithTab} from "@codemirror/commands"
import {bracketMatching, codeFolding, foldGutter, foldKeymap, HighlightStyle, indentOnInput, syntaxHighlighting, syntaxTree} from "@codemirror/language"
import {json} from "@codemirror/lang-json"
import {lintGutter, setDiagnostics} from "@codemirror/lint"
import {unifiedMergeView} from "@codemirror/merge"
import {tags} from "@lezer/highlight"
import {make} from "./rows"

// Short enough to feel live, long enough that half a word is no mistake.
const QUIET_MS = 300

const colours = HighlightStyle.define([
  {tag: tags.propertyName, color: "var(--ge-accent)"},
  {tag: tags.string, color: "var(--ge-text)"},
  {tag: [tags.number, tags.bool, tags.null], color: "var(--ge-focus)"},
])
const look = EditorView.theme({
  "&": {height: "100%", color: "var(--ge-text)", backgroundColor: "var(--ge-surface)", fontSize: "12px"},
  "&.cm-focused": {outline: "none"},
  ".cm-scroller": {fontFamily: "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace", lineHeight: "18px"},
  ".cm-content": {caretColor: "var(--ge-text)"},
  ".cm-cursor": {borderLeftColor: "var(--ge-text)"},
  ".cm-gutters": {backgroundColor: "var(--ge-surface)", color: "var(--ge-muted)", border: "0"},
  ".cm-activeLine, .cm-activeLineGutter": {backgroundColor: "var(--ge-hover)"},
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {backgroundColor: "var(--ge-accent-soft)"},
  "&.cm-focused .cm-matchingBracket": {backgroundColor: "var(--ge-accent-soft)"},
  ".cm-foldPlaceholder": {backgroundColor: "var(--ge-sunken)", color: "var(--ge-muted)", border: "0"},
  ".cm-tooltip": {backgroundColor: "var(--ge-surface)", color: "var(--ge-text)", border: "1px solid var(--ge-line)"},
  ".cm-diagnostic-error": {borderLeftColor: "var(--ge-error)"},
  ".cm-changedLine, .cm-insertedLine": {backgroundColor: "var(--ge-accent-soft) !important"},
  ".cm-deletedChunk": {backgroundColor: "var(--ge-sunken)"},
  ".cm-collapsedLines": {background: "var(--ge-sunken)", color: "var(--ge-muted)"},
  ".cm-collapsedLines:before, .cm-collapsedLines:after": {content: "''"},
})

// Where a JSON pointer (RFC 6901) leads to in the text, as from and to; the whole first line where it leads nowhere.
function placeOf(state, pointer) {
  const text = (node) => state.sliceDoc(node.from, node.to)
  const values = (node) => {
    const found = []
    for (let child = node.firstChild; child; child = child.nextSibling) {
      if (!["[", "]", "{", "}", ",", "⚠"].includes(child.name)) { found.push(child) }
    }
    return found
  }
  let node = syntaxTree(state).topNode.firstChild
  let marked = null
  for (const part of pointer.split("/").slice(1).map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"))) {
    if (!node) { break }
    if (node.name === "Array") {
      node = values(node)[Number(part)]
      marked = node ?? marked
    } else if (node.name === "Object") {
      const property = values(node).find((child) => {
        const name = child.getChild("PropertyName")
        try {
          return name && JSON.parse(text(name)) === part
        } catch {
          return false
        }
      })
      if (!property) { break }
      marked = property
      node = property.lastChild
    } else {
      break
    }
  }
  const line = marked ? {from: marked.from, to: marked.to} : state.doc.line(1)
  return {from: line.from, to: Math.min(line.to, state.doc.lineAt(line.from).to)}
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    const area = make("textarea")
    area.value = text
    document.body.append(area)
    area.select()
    document.execCommand("copy")
    area.remove()
  }
  button.textContent = "Copied"
  setTimeout(() => { button.textContent = "Copy" }, 1500)
}

function download(text, name, type) {
  const link = make("a")
  link.href = URL.createObjectURL(new Blob([text], {type}))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}

export function render({model}) {
  const host = make("div", "editor")
  const bar = make("div", "bar")
  const state = make("span", "state")
  state.setAttribute("role", "status")
  const copying = make("button", "link", "Copy")
  const saving = make("button", "link", "Download")
  for (const button of [copying, saving]) { button.type = "button" }
  bar.append(state, copying, saving)
  const area = make("div", "area")
  host.append(bar, area)
  let view = null
  let timer = 0
  let quiet = false
  const editable = new Compartment()
  const compared = new Compartment()
  const write = () => [EditorView.editable.of(model.editable), EditorState.readOnly.of(!model.editable)]
  const against = () => model.against ? unifiedMergeView({original: model.against, mergeControls: false, collapseUnchanged: {margin: 3}}) : []
  const changed = EditorView.updateListener.of((update) => {
    if (!update.docChanged || quiet) { return }
    clearTimeout(timer)
    timer = setTimeout(() => model.send_msg({type: "edit", text: view.state.doc.toString()}), QUIET_MS)
  })
  const mark = () => {
    if (!view) { return }
    const {problem} = model
    state.textContent = problem?.message ?? ""
    host.classList.toggle("invalid", Boolean(problem?.message))
    let found = []
    if (problem?.message) {
      const at = problem.offset ?? null
      const doc = view.state.doc
      const line = at === null ? null : doc.lineAt(Math.min(at, doc.length))
      const place = line ? {from: line.from, to: line.to} : placeOf(view.state, problem.pointer ?? "")
      found = [{...place, severity: "error", message: problem.message}]
    }
    view.dispatch(setDiagnostics(view.state, found))
  }
  const put = () => {
    clearTimeout(timer)
    const text = model.content.text ?? ""
    if (text !== view.state.doc.toString()) {
      quiet = true
      const {scrollTop} = view.scrollDOM
      const at = Math.min(view.state.selection.main.head, text.length)
      view.dispatch({changes: {from: 0, to: view.state.doc.length, insert: text}, selection: {anchor: at}})
      view.scrollDOM.scrollTop = scrollTop
      quiet = false
    }
    mark()
  }
  copying.addEventListener("click", () => copy(view.state.doc.toString(), copying))
  saving.addEventListener("click", () => download(view.state.doc.toString(), model.filename, model.media_type))
  // The editor writes its rules into the root that it lies in, which is known only once it is on the page.
  requestAnimationFrame(() => {
    view = new EditorView({
      parent: area,
      root: host.getRootNode(),
      state: EditorState.create({
        doc: model.content.text ?? "",
        extensions: [
          lineNumbers(), foldGutter(), codeFolding(), history(), drawSelection(), indentOnInput(), bracketMatching(),
          highlightActiveLine(), highlightActiveLineGutter(), syntaxHighlighting(colours), look, lintGutter(),
          ...(model.language === "json" ? [json()] : []),
          // Tab indents where a person writes; Escape, then Tab, leaves the editor (CodeMirror's own way out).
          keymap.of([...defaultKeymap, ...historyKeymap, ...foldKeymap, ...(model.editable ? [indentWithTab] : [])]),
          EditorState.tabSize.of(2), EditorView.lineWrapping, changed, editable.of(write()), compared.of(against()),
          EditorView.contentAttributes.of(() => ({"aria-label": model.label})),
        ],
      }),
    })
    mark()
  })
  model.on("content", () => { if (view) { put() } })
  model.on("problem", mark)
  model.on("label", () => view?.dispatch({}))
  model.on("editable", () => view?.dispatch({effects: editable.reconfigure(write())}))
  model.on("against", () => view?.dispatch({effects: compared.reconfigure(against())}))
  model.on("remove", () => {
    clearTimeout(timer)
    view?.destroy()
  })
  return host
}
