// What the rail shows on all pages of administration.
import { useEffect } from "preact/hooks";
import { IconAdjustments, IconClock, IconEngine, IconHistory, IconPeople, IconSettings, IconShield, IconSliders } from "../../icons.ts";
import { location } from "../../router.ts";
import { t } from "../../text/index.ts";
import { decisionCount, followEngines } from "./engine_list.ts";

type PageName = keyof typeof t.admin.pages;

const LINKS: readonly { name: PageName; href: string; icon: typeof IconEngine }[] = [
  { name: "engines", href: "/admin", icon: IconEngine },
  { name: "settings", href: "/admin/settings", icon: IconSettings },
  { name: "bindings", href: "/admin/bindings", icon: IconSliders },
  { name: "people", href: "/admin/people", icon: IconPeople },
  { name: "groups", href: "/admin/groups", icon: IconShield },
  { name: "jobs", href: "/admin/jobs", icon: IconClock },
  { name: "audit", href: "/admin/audit", icon: IconHistory },
  { name: "configuration", href: "/admin/configuration", icon: IconAdjustments },
];

/** The links of the administration, and how many engines wait for a decision. */
export function Aside() {
  useEffect(followEngines, []);
  const { path } = location.value;
  const decisions = decisionCount.value;
  return (
    <nav class="admin-aside" aria-label={t.admin.navigation}>
      {LINKS.map(({ name, href, icon: Icon }) => (
        <a key={name} href={href} aria-current={isCurrent(name, href, path) ? "page" : undefined}>
          <Icon aria-hidden="true" />
          {t.admin.pages[name]}
          {name === "engines" && decisions > 0 && (
            <span class="count" title={t.admin.waitingForYou(decisions)}>
              {decisions}
              <span class="visually-hidden">{t.admin.waitingForYou(decisions)}</span>
            </span>
          )}
        </a>
      ))}
    </nav>
  );
}

function isCurrent(name: PageName, href: string, path: string): boolean {
  if (name === "engines") return path === "/admin" || path.startsWith("/admin/engines");
  return path === href || path.startsWith(`${href}/`);
}
