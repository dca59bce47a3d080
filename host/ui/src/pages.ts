// The pages by their paths. Each is loaded when it is opened first.
import type { ComponentType } from "preact";
import { match } from "./page_paths.ts";
import { loadStyle } from "./style.ts";
import { loadStudio } from "./studio.ts";
import { loadAdministrationText } from "./text/index.ts";

export interface PageModule {
  default: ComponentType<{ parameters: Record<string, string> }>;
  /** What the rail shows below the navigation, such as the list of chats. */
  Aside?: ComponentType;
}

export interface PageRoute {
  /** With parameters such as `:id`. */
  path: string;
  /** Paths with the same key show the same page, which stays when one replaces the other. */
  key?: string;
  load: () => Promise<PageModule>;
  isForAdministrators?: boolean;
}

/** A page of administration, which is loaded with its texts and styles. */
function admin(load: () => Promise<PageModule>): Pick<PageRoute, "load" | "isForAdministrators"> {
  return { isForAdministrators: true, load: withAdministration(load) };
}

function withStudio(load: () => Promise<PageModule>): () => Promise<PageModule> {
  return async () => (await Promise.all([load(), loadStudio()]))[0];
}

function withAdministration(load: () => Promise<PageModule>): () => Promise<PageModule> {
  return async () => (await Promise.all([load(), loadAdministrationText(), loadStyle("admin")]))[0];
}

const ROUTES: readonly PageRoute[] = [
  { path: "/", key: "chat", load: () => import("./pages/chat/page.tsx") },
  { path: "/c/:id", key: "chat", load: () => import("./pages/chat/page.tsx") },
  { path: "/create", load: withStudio(() => import("./pages/create/page.tsx")) },
  { path: "/gallery", load: withStudio(() => import("./pages/gallery/page.tsx")) },
  { path: "/profile", load: withAdministration(() => import("./pages/profile/page.tsx")) },
  { path: "/admin", ...admin(() => import("./pages/admin/engines/page.tsx")) },
  { path: "/admin/engines/:name", ...admin(() => import("./pages/admin/engines/engine.tsx")) },
  { path: "/admin/settings", ...admin(() => import("./pages/admin/settings/page.tsx")) },
  { path: "/admin/settings/:engine", ...admin(() => import("./pages/admin/settings/page.tsx")) },
  { path: "/admin/bindings", ...admin(() => import("./pages/admin/bindings/page.tsx")) },
  { path: "/admin/people", ...admin(() => import("./pages/admin/people/page.tsx")) },
  { path: "/admin/people/:id", ...admin(() => import("./pages/admin/people/person.tsx")) },
  { path: "/admin/groups", ...admin(() => import("./pages/admin/groups/page.tsx")) },
  { path: "/admin/jobs", ...admin(() => import("./pages/admin/jobs/page.tsx")) },
  { path: "/admin/audit", ...admin(() => import("./pages/admin/audit/page.tsx")) },
  { path: "/admin/configuration", ...admin(() => import("./pages/admin/configuration/page.tsx")) },
];

/** The page of a path, with the values of its parameters. */
export function findPage(path: string): { route: PageRoute; parameters: Record<string, string> } | undefined {
  for (const route of ROUTES) {
    const parameters = match(route.path, path);
    if (parameters) return { route, parameters };
  }
  return undefined;
}
