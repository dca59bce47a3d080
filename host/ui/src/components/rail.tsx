import type { ComponentType } from "preact";
import { activeJobCount } from "../jobs.ts";
import { IconAdjustments, IconChat, IconCreate, IconGallery, IconMoon, IconSignOut, IconSun, IconUser, IconCode } from "../icons.ts";
import { LANGUAGES, language, setLanguage, setTheme, theme, type Language, type Theme } from "../preferences.ts";
import { location } from "../router.ts";
import { hasAdminPages, signOut, user } from "../session.ts";
import { t } from "../text/index.ts";
import { Logo } from "./logo.tsx";
import { Menu } from "./menu.tsx";

/** The navigation of the whole site: at the side, or at the bottom of a phone. */
export function Rail({ aside: Aside }: { aside: ComponentType | undefined }) {
  return (
    <header class="rail">
      <a class="brand" href="/">
        <Logo />
        Pinhole
      </a>
      <Navigation />
      <div class="aside">{Aside && <Aside />}</div>
      <RailFoot />
    </header>
  );
}

/** The links to the main pages. */
function Navigation() {
  const { path } = location.value;
  const isChat = path === "/" || path.startsWith("/c/");
  const jobs = activeJobCount.value;
  return (
    <nav aria-label={t.shell.navigation}>
      <NavLink href="/" isCurrent={isChat} icon={IconChat} text={t.shell.chat} />
      <NavLink href="/create" isCurrent={path === "/create"} icon={IconCreate} text={t.shell.create} jobs={jobs} />
      <NavLink href="/gallery" isCurrent={path === "/gallery"} icon={IconGallery} text={t.shell.gallery} />
      {hasAdminPages.value && <NavLink href="/admin" isCurrent={path.startsWith("/admin")} icon={IconAdjustments} text={t.shell.admin} />}
    </nav>
  );
}

interface NavLinkProps {
  href: string;
  isCurrent: boolean;
  icon: typeof IconChat;
  text: string;
  jobs?: number;
}

function NavLink({ href, isCurrent, icon: Icon, text, jobs = 0 }: NavLinkProps) {
  return (
    <a href={href} aria-current={isCurrent ? "page" : undefined}>
      <Icon aria-hidden="true" />
      {text}
      {jobs > 0 && (
        <span class="count live" title={t.shell.jobsRunning(jobs)}>
          {jobs}
          <span class="visually-hidden">{t.shell.jobsRunning(jobs)}</span>
        </span>
      )}
    </a>
  );
}

/** The account's menu and the scheme. */
export function RailFoot() {
  const name = user.value?.name ?? "";
  const face = (
    <>
      <span class="avatar" aria-hidden="true">
        {[...name][0] ?? "?"}
      </span>
      <span dir="auto">{name}</span>
    </>
  );
  return (
    <div class="rail-foot">
      <Menu label={t.shell.account} face={face} hasText class="quiet account">
        <a href="/profile">
          <IconUser aria-hidden="true" />
          {t.shell.profile}
        </a>
        <a href="/docs" target="_blank" rel="noreferrer">
          <IconCode aria-hidden="true" />
          {t.shell.apiDocs}
        </a>
        <hr />
        <span class="label">{t.shell.language}</span>
        {(Object.entries(LANGUAGES) as [Language, string][]).map(([code, title]) => (
          <button key={code} type="button" lang={code} aria-pressed={code === language} onClick={() => setLanguage(code)}>
            {title}
          </button>
        ))}
        <hr />
        <button type="button" onClick={() => void signOut()}>
          <IconSignOut aria-hidden="true" />
          {t.shell.signOut}
        </button>
      </Menu>
      <ThemeMenu />
    </div>
  );
}

function ThemeMenu() {
  const Icon = theme.value === "light" ? IconSun : IconMoon;
  return (
    <Menu label={t.shell.theme} face={<Icon aria-hidden="true" />}>
      {(["auto", "light", "dark"] as Theme[]).map((it) => (
        <button key={it} type="button" aria-pressed={theme.value === it} onClick={() => setTheme(it)}>
          {t.shell.themes[it]}
        </button>
      ))}
    </Menu>
  );
}
