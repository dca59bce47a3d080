// Permissions of engines: their text form, and what a request is good for.
import type { DeclaredRight } from "./types.ts";

export type Purpose =
  | "edit"
  | "images"
  | "generate"
  | "chat"
  | "upload"
  | "cancel"
  | "models"
  | "live"
  | "progress"
  | "jobs"
  | "fetch"
  | "read"
  | "send"
  | "change"
  | "delete";

type Right =
  | { kind: "request"; upstream: string; method: string; path: string; purpose: Purpose }
  | { kind: "url"; upstream: string; setting: string }
  | { kind: "default-url"; upstream: string; url: string }
  | { kind: "credential"; upstream: string; form: string; setting: string }
  | { kind: "host"; upstream: string; host: string }
  | { kind: "images"; upstream: string; host: string | null }
  | { kind: "variable"; setting: string; variable: string; isSecret: boolean }
  | { kind: "unknown"; text: string };

/** From the server's form, such as `api POST /images/`. */
export function parseRight(text: string): Right {
  const variable = /^(secret|setting) (\S+) from (\S+)$/.exec(text);
  if (variable) {
    const [, kind, setting = "", name = ""] = variable;
    return { kind: "variable", setting, variable: name, isSecret: kind === "secret" };
  }
  const request = /^(\S+) ([A-Z]+) (\/\S*)$/.exec(text);
  if (request) {
    const [, upstream = "", method = "", path = ""] = request;
    return { kind: "request", upstream, method, path, purpose: purposeOf(method, path) };
  }
  const images = /^(\S+) images from (any public host|\S+)$/.exec(text);
  if (images) {
    const [, upstream = "", host = ""] = images;
    return { kind: "images", upstream, host: host === "any public host" ? null : host };
  }
  const host = /^(\S+) also at (\S+)$/.exec(text);
  if (host) return { kind: "host", upstream: host[1] ?? "", host: host[2] ?? "" };
  const standard = /^(\S+) at (\S+), by default$/.exec(text);
  if (standard) return { kind: "default-url", upstream: standard[1] ?? "", url: standard[2] ?? "" };
  const url = /^(\S+) at (\S+)$/.exec(text);
  if (url) return { kind: "url", upstream: url[1] ?? "", setting: url[2] ?? "" };
  const credential = /^(\S+) with (.+) from (.+)$/.exec(text);
  if (credential) {
    const [, upstream = "", form = "", setting = ""] = credential;
    return { kind: "credential", upstream, form, setting };
  }
  return { kind: "unknown", text };
}

/** In order: the first that fits. */
const PURPOSES: readonly [methods: RegExp, path: RegExp, purpose: Purpose][] = [
  [/DELETE/, /./, "delete"],
  [/./, /cancel|interrupt|stop|abort/, "cancel"],
  [/GET/, /(^|\/)(ws|websocket|events?|stream)\b/, "live"],
  [/GET/, /model|checkpoint|sampler|scheduler|object_info|lora|styles/, "models"],
  [/GET/, /progress|status|queue|history|job|prediction|operation|system_stats|ping|task|prompt/, "progress"],
  [/GET/, /view|file|image|download|result|output/, "fetch"],
  [/GET|HEAD/, /./, "read"],
  [/POST/, /edit|img2img|inpaint|variation/, "edit"],
  [/POST/, /upload|files/, "upload"],
  [/POST/, /images?\/$/, "images"],
  [/POST/, /chat|responses|messages/, "chat"],
  [/POST/, /generat|txt2img|image|predict|prompt|t2i|text-to/, "generate"],
  [/POST/, /queue|jobs?\b|tasks?\b/, "jobs"],
  [/POST/, /./, "send"],
];

/** What a request is probably good for, from the names that image servers use. */
export function purposeOf(method: string, path: string): Purpose {
  const lower = path.toLowerCase();
  const found = PURPOSES.find(([methods, pattern]) => methods.test(method) && pattern.test(lower));
  return found?.[2] ?? "change";
}

export interface ParsedRight extends DeclaredRight {
  parsed: Right;
}

interface UpstreamRights {
  upstream: string;
  rights: ParsedRight[];
}

export interface SettingRights {
  setting: string;
  isSecret: boolean;
  variables: ParsedRight[];
}

/** The rights by upstream, and the variables by setting. */
export function groupRights(rights: readonly DeclaredRight[]): { upstreams: UpstreamRights[]; settings: SettingRights[] } {
  const upstreams = new Map<string, ParsedRight[]>();
  const settings = new Map<string, SettingRights>();
  for (const declared of rights) {
    const parsed = parseRight(declared.right);
    const right = { ...declared, parsed };
    if (parsed.kind === "variable") {
      const group = settings.get(parsed.setting) ?? { setting: parsed.setting, isSecret: parsed.isSecret, variables: [] };
      group.variables.push(right);
      settings.set(parsed.setting, group);
    } else {
      const upstream = parsed.kind === "unknown" ? "" : parsed.upstream;
      upstreams.set(upstream, [...(upstreams.get(upstream) ?? []), right]);
    }
  }
  return {
    upstreams: [...upstreams].map(([upstream, its]) => ({ upstream, rights: its })),
    settings: [...settings.values()],
  };
}

/** Purposes that say little. */
const VAGUE: readonly Purpose[] = ["send", "read", "progress", "models", "live"];

/** The rights that say most, first: requests that change something, then others; each request once. */
export function mostTelling(rights: readonly DeclaredRight[]): ParsedRight[] {
  const parsed = rights.map((it): ParsedRight => ({ ...it, parsed: parseRight(it.right) }));
  const rank = ({ parsed: its }: ParsedRight) => {
    if (its.kind !== "request") return its.kind === "variable" ? 3 : 2;
    return VAGUE.includes(its.purpose) ? 1 : 0;
  };
  const seen = new Set<string>();
  const isNew = ({ parsed: its }: ParsedRight) => {
    if (its.kind !== "request") return true;
    const request = `${its.method} ${its.path}`;
    const isFirst = !seen.has(request);
    seen.add(request);
    return isFirst;
  };
  return parsed.filter(isNew).sort((a, b) => rank(a) - rank(b));
}

/** The default URLs that rights name, by upstream. */
export function defaultUrls(rights: readonly DeclaredRight[]): Record<string, string> {
  const urls: Record<string, string> = {};
  for (const { right } of rights) {
    const parsed = parseRight(right);
    if (parsed.kind === "default-url") urls[parsed.upstream] = parsed.url;
  }
  return urls;
}

/** A request with the host to which it goes, such as `POST api.example.com/v2/edits`. */
export function requestLine(method: string, path: string, baseUrl: string | undefined): string {
  return `${method} ${baseUrl === undefined ? "" : withoutScheme(baseUrl)}${path}`;
}

function withoutScheme(url: string): string {
  return url.replace(/^[a-z]+:\/\//i, "").replace(/\/+$/, "");
}
