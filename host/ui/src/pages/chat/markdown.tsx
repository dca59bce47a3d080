// Markdown of a language model as elements. Raw HTML is shown as text; nothing is loaded from other servers.
import { lexer, type Token, type Tokens } from "marked";
import { Component, h, type ComponentChildren, type VNode } from "preact";
import { useMemo } from "preact/hooks";
import { CodeBlock } from "./code_block.tsx";
import { decodeEntities, safeImage, safeLink } from "./markdown_links.ts";

/** Nested elements, beyond which Markdown is shown as text. */
const MAX_DEPTH = 32;

/** A text that grows while it is received: blocks that did not change are not rendered again. */
export default function Markdown({ text }: { text: string }) {
  const tokens = useMemo(() => parse(text), [text]);
  return (
    <div class="markdown" dir="auto">
      {tokens.map((token, index) => (
        <Block key={index} token={token} />
      ))}
    </div>
  );
}

function parse(text: string): Token[] {
  try {
    return lexer(text, { gfm: true, breaks: true });
  } catch {
    // Such as a text that nests without end.
    return [{ type: "text", raw: text, text } as Tokens.Text];
  }
}

class Block extends Component<{ token: Token }> {
  override shouldComponentUpdate(next: { token: Token }): boolean {
    return next.token.raw !== this.props.token.raw || next.token.type !== this.props.token.type;
  }

  override render() {
    return render(this.props.token, 0);
  }
}

function renderAll(tokens: readonly Token[] | undefined, depth: number): ComponentChildren {
  return tokens?.map((token) => render(token, depth + 1));
}

/** The element of a token. Types that are not known are shown as text. */
export function render(token: Token, depth: number): ComponentChildren {
  if (depth > MAX_DEPTH) return token.raw;
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return renderHeading(token as Tokens.Heading, depth);
    case "paragraph":
      return <p>{renderAll(token.tokens, depth)}</p>;
    case "blockquote":
      return <blockquote>{renderAll(token.tokens, depth)}</blockquote>;
    case "list":
      return renderList(token as Tokens.List, depth);
    case "code":
      return <CodeBlock text={(token as Tokens.Code).text} language={(token as Tokens.Code).lang ?? ""} />;
    case "table":
      return renderTable(token as Tokens.Table, depth);
    case "hr":
      return <hr />;
    case "br":
      return <br />;
    case "strong":
      return <strong>{renderAll(token.tokens, depth)}</strong>;
    case "em":
      return <em>{renderAll(token.tokens, depth)}</em>;
    case "del":
      return <del>{renderAll(token.tokens, depth)}</del>;
    case "codespan":
      return <code>{(token as Tokens.Codespan).text}</code>;
    case "link":
      return renderLink(token as Tokens.Link, depth);
    case "image":
      return renderImage(token as Tokens.Image);
    case "checkbox":
      return (token as { checked?: boolean }).checked ? "☑ " : "☐ ";
    case "escape":
      return (token as Tokens.Escape).text;
    case "text":
      return token.tokens ? renderAll(token.tokens, depth) : decodeEntities((token as Tokens.Text).text);
    default:
      return token.raw;
  }
}

/** The page has its own title: headings of a response start below it. */
function renderHeading({ depth: level, tokens }: Tokens.Heading, depth: number): VNode {
  return h(`h${Math.min(4, Math.max(2, level))}`, null, renderAll(tokens, depth));
}

function renderList({ ordered, start, items }: Tokens.List, depth: number): VNode {
  const entries = items.map((item) => (
    <li>
      {item.task && !hasCheckbox(item) && (item.checked ? "☑ " : "☐ ")}
      {renderAll(item.tokens, depth)}
    </li>
  ));
  return ordered ? <ol start={typeof start === "number" ? start : 1}>{entries}</ol> : <ul>{entries}</ul>;
}

function hasCheckbox(item: Tokens.ListItem): boolean {
  const [first] = item.tokens;
  const inner = first && "tokens" in first ? first.tokens : undefined;
  return first?.type === "checkbox" || inner?.[0]?.type === "checkbox";
}

function renderTable({ header, rows, align }: Tokens.Table, depth: number): VNode {
  const sideOf = (index: number) => (align[index] === "right" ? "number" : undefined);
  return (
    // A table that is wider than the column scrolls, also by keyboard.
    <div class="scroll-x" tabIndex={0} role="group">
      <table>
        <thead>
          <tr>
            {header.map((cell, index) => (
              <th class={sideOf(index)}>{renderAll(cell.tokens, depth)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              {row.map((cell, index) => (
                <td class={sideOf(index)}>{renderAll(cell.tokens, depth)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function renderLink({ href, raw, tokens }: Tokens.Link, depth: number): ComponentChildren {
  const target = safeLink(href);
  if (target === undefined) return raw;
  return (
    <a href={target} target="_blank" rel="noreferrer">
      {renderAll(tokens, depth)}
    </a>
  );
}

function renderImage({ href, text, raw }: Tokens.Image): ComponentChildren {
  const source = safeImage(href);
  if (source !== undefined) return <img src={source} alt={text} loading="lazy" />;
  const target = safeLink(href);
  if (target === undefined) return raw;
  return (
    <a href={target} target="_blank" rel="noreferrer">
      {text || href}
    </a>
  );
}
