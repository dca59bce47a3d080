import type { ComponentChildren } from "preact";
import { t } from "../../../text/index.ts";
import { defaultUrls, groupRights, requestLine, type ParsedRight, type SettingRights } from "./rights.ts";
import type { BindingDetails, DeclaredRight, RightState } from "./types.ts";

interface RightListProps {
  rights: readonly DeclaredRight[];
  /** Known URLs of upstreams. */
  bindings: readonly BindingDetails[];
  /** The level of the headings on the page. */
  level: 2 | 4;
  /** At the end of a request's row. */
  action?: (right: ParsedRight) => ComponentChildren;
}

const SIGNS: Record<RightState, string> = { granted: "", new: "+", denied: "!", unused: "−" };

/** Permissions in words: by upstream, then the settings that the engine gets. */
export function RightList({ rights, bindings, level, action }: RightListProps) {
  const Heading = level === 2 ? "h2" : "h4";
  const { upstreams, settings } = groupRights(rights);
  const urls = { ...defaultUrls(rights), ...urlsOf(bindings) };
  return (
    <div class="stack">
      {upstreams.map(({ upstream, rights: its }) => (
        <section key={upstream} class="rights">
          <Heading>
            {t.engines.rights.upstream(upstream)}
            {urls[upstream] !== undefined && <code class="wrap">{urls[upstream]}</code>}
          </Heading>
          <ul>
            {inOrder(its).map((right) => (
              <RightRow key={right.right} right={right} url={urls[upstream]} action={action && <span class="right-action">{action(right)}</span>} />
            ))}
          </ul>
        </section>
      ))}
      {settings.length > 0 && (
        <section class="rights">
          <Heading>{t.engines.rights.variables}</Heading>
          <ul>
            {settings.map((it) => (
              <SettingRow key={it.setting} setting={it} />
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}

function RightRow({ right, url, action }: { right: ParsedRight; url: string | undefined; action: ComponentChildren }) {
  return (
    <li class={right.state}>
      <Sign state={right.state} />
      <div class="grow">
        <span>{wordsOf(right)}</span>
        <code class="wrap">{codeOf(right, url)}</code>
      </div>
      {action}
    </li>
  );
}

function SettingRow({ setting }: { setting: SettingRights }) {
  const state = setting.variables.find((it) => it.state !== "granted")?.state ?? "granted";
  return (
    <li class={state}>
      <Sign state={state} />
      <div class="grow">
        <span>
          <strong>{setting.setting}</strong> <span class="muted">{setting.isSecret ? t.engines.rights.secret : t.engines.rights.setting}</span>
        </span>
        <code class="wrap">
          {setting.variables.map(({ parsed, state: its }) => `${SIGNS[its]}${parsed.kind === "variable" ? parsed.variable : ""}`).join(", ")}
        </code>
      </div>
    </li>
  );
}

function Sign({ state }: { state: RightState }) {
  return (
    <span class="sign">
      <span aria-hidden="true">{SIGNS[state]}</span>
      <span class="visually-hidden">{t.engines.rights.signs[state]}</span>
    </span>
  );
}

/** What a permission lets the engine do. */
export function wordsOf({ parsed }: ParsedRight): string {
  const { rights } = t.engines;
  switch (parsed.kind) {
    case "request":
      return rights.purposes[parsed.purpose];
    case "url":
      return rights.url(parsed.setting);
    case "default-url":
      return rights.defaultUrl;
    case "credential":
      return rights.credential(parsed.form, parsed.setting);
    case "host":
      return rights.host;
    case "images":
      return parsed.host === null ? rights.imagesAny : rights.images;
    case "variable":
      return parsed.isSecret ? rights.secret : rights.setting;
    case "unknown":
      return "";
  }
}

/** The technical form, without what the heading says. */
export function codeOf({ parsed, right }: ParsedRight, url: string | undefined): string {
  switch (parsed.kind) {
    case "request":
      return requestLine(parsed.method, parsed.path, url);
    case "default-url":
      return parsed.url;
    case "host":
      return parsed.host;
    case "images":
      return parsed.host ?? "";
    case "url":
    case "credential":
      return "";
    default:
      return right;
  }
}

/** New ones first. */
function inOrder(rights: readonly ParsedRight[]): ParsedRight[] {
  return [...rights].sort((a, b) => Number(b.state === "new") - Number(a.state === "new"));
}

/** The URLs of upstreams that settings have. */
export function urlsOf(bindings: readonly BindingDetails[]): Record<string, string> {
  const urls: Record<string, string> = {};
  for (const { name, base_url: url } of bindings.flatMap((it) => it.upstreams)) {
    if (url !== null) urls[name] ??= url;
  }
  return urls;
}
