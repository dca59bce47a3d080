import assert from "node:assert/strict";
import { test } from "node:test";
import { lexer } from "marked";
import { decodeEntities, safeImage, safeLink } from "./markdown_links.ts";

// The module reads the language of the browser.
Object.defineProperty(globalThis, "navigator", { value: { languages: ["en"] }, configurable: true });
const { render } = await import("./markdown.tsx");

interface Element {
  type: unknown;
  props: Record<string, unknown>;
}

/** The elements of a text as a list of `tag attributes`, and its plain text. */
function show(markdown: string): { elements: string[]; text: string } {
  const elements: string[] = [];
  let text = "";
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit);
    if (typeof node === "string" || typeof node === "number") {
      text += String(node);
      return;
    }
    if (typeof node !== "object" || node === null) return;
    const { type, props } = node as Element;
    const { children, ...attributes } = props;
    const name = typeof type === "function" ? type.name : String(type);
    elements.push([name, ...Object.entries(attributes).filter(([, value]) => value !== undefined).map(([key, value]) => `${key}=${String(value)}`)].join(" "));
    if (name === "CodeBlock") text += String(attributes.text);
    visit(children);
  };
  visit(lexer(markdown, { gfm: true, breaks: true }).map((token) => render(token, 0)));
  return { elements, text };
}

test("raw HTML is text", () => {
  for (const html of ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "a <b onclick=x>b</b>", "<svg/onload=alert(1)>", "<!-- x -->"]) {
    const { elements, text } = show(html);
    assert.deepEqual(elements.filter((it) => it !== "p"), [], html);
    assert.ok(text.includes(html.slice(0, 4)), html);
  }
});

test("links lead to web pages only", () => {
  assert.deepEqual(show("[a](https://example.org/x)").elements, ["p", "a href=https://example.org/x target=_blank rel=noreferrer"]);
  for (const target of ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "/api/v1/auths/signout", "vbscript:x", "file:///etc/passwd", "&#106;avascript:alert(1)"]) {
    assert.ok(!show(`[a](${target})`).elements.some((it) => it.startsWith("a ")), target);
  }
  assert.equal(safeLink("//example.org"), undefined);
});

test("images are stored files only", () => {
  assert.deepEqual(show("![x](/api/v1/files/12-ab/content)").elements, ["p", "img src=/api/v1/files/12-ab/content alt=x loading=lazy"]);
  assert.deepEqual(show("![x](https://evil.example/p.png)").elements, ["p", "a href=https://evil.example/p.png target=_blank rel=noreferrer"]);
  for (const source of ["data:image/svg+xml,<svg>", "javascript:x", "/api/v1/files/../users/content", "/api/v1/files/a/content?size=1&x=2"]) {
    assert.equal(safeImage(source), undefined, source);
    assert.ok(!show(`![x](${source})`).elements.some((it) => it.startsWith("img")), source);
  }
});

test("text has its entities, and only once", () => {
  assert.equal(show("a &amp; b &lt;c&gt; &#8364; &#x1F98A; &unknown;").text, "a & b <c> € 🦊 &unknown;");
  assert.equal(show("`a &amp; <b>`").text, "a &amp; <b>");
  assert.equal(decodeEntities("&#0;&#xD800;&#99999999;"), "&#0;&#xD800;&#99999999;");
  assert.equal(show("\\*not strong\\* <3").text, "*not strong* <3");
});

test("blocks become elements", () => {
  assert.deepEqual(show("# One\n\n###### Six").elements, ["h2", "h4"]);
  assert.deepEqual(show("3. a\n4. b").elements, ["ol start=3", "li", "li"]);
  assert.match(show("- [x] done\n- [ ] open").text, /☑ done.*☐ open/s);
  assert.deepEqual(show("```js\nlet a = '<b>';\n```").elements, ["CodeBlock text=let a = '<b>'; language=js"]);
  const table = show("| a | b |\n|---|--:|\n| 1 | 2 |").elements;
  assert.deepEqual(table.filter((it) => it.startsWith("t")), ["table", "thead", "tr", "th", "th class=number", "tbody", "tr", "td", "td class=number"]);
});

test("a text that nests without end is shown", () => {
  for (const text of [">".repeat(2_000) + " x", "- ".repeat(500) + "x", "[".repeat(3_000), "**a ".repeat(2_000)]) {
    let shown: string;
    try {
      shown = show(text).text;
    } catch (error) {
      // The page shows the text as it is if the lexer gives up.
      assert.ok(error instanceof RangeError);
      continue;
    }
    assert.ok(shown.length > 0);
  }
});
