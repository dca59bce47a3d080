// The frame: asks who is signed in, and shows the page of the path.
import { Component, type ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { messageOf, sessionExpired } from "./api/client.ts";
import { Drawer } from "./components/drawer.tsx";
import { Empty, Failure } from "./components/notice.tsx";
import { Page } from "./components/page.tsx";
import { Rail } from "./components/rail.tsx";
import { findPage, type PageModule, type PageRoute } from "./pages.ts";
import { location } from "./router.ts";
import { hasAdminPages, loadSession, user } from "./session.ts";
import { loadWelcomeText, t } from "./text/index.ts";

type Welcome = typeof import("./pages/welcome/page.tsx");

async function loadWelcome(): Promise<Welcome> {
  return (await Promise.all([import("./pages/welcome/page.tsx"), loadWelcomeText()]))[0];
}

export function App() {
  const [error, setError] = useState<unknown>();
  const load = () => {
    setError(undefined);
    loadSession().catch(setError);
  };
  useEffect(load, []);
  if (error !== undefined && user.value === undefined) {
    return (
      <main class="sheet narrow" id="content">
        <Failure error={error} onRetry={load} />
      </main>
    );
  }
  if (user.value === undefined) return <Waiting />;
  const isWelcome = user.value === null || user.value.role === "pending" || location.value.path === "/setup";
  return isWelcome ? <WelcomePage /> : <SignedIn />;
}

/** Holds the place of a page for the moment until it is there. */
function Waiting() {
  return (
    <main class="page" aria-busy="true">
      <h1 class="visually-hidden">{t.shell.loading}</h1>
    </main>
  );
}

/** Set-up and sign-in. */
function WelcomePage() {
  const module = useModule<Welcome>(loadWelcome, "welcome");
  if (module instanceof Error) return <BrokenPage error={module} />;
  return module ? <module.default /> : <Waiting />;
}

function SignedIn() {
  const { path } = location.value;
  const page = findPage(path);
  const route = page?.route;
  const key = route?.key ?? route?.path;
  const isForbidden = route?.isForAdministrators === true && !hasAdminPages.value;
  const module = useModule<PageModule>(route && !isForbidden ? route.load : undefined, key ?? "");
  const loaded = module instanceof Error || isForbidden ? undefined : module;
  return (
    <>
      <a class="skip" href="#content">
        {t.shell.skip}
      </a>
      <div class="app">
        <Rail aside={loaded?.Aside} />
        <Boundary key={key ?? path}>
          <Content route={route} module={module} parameters={page?.parameters ?? {}} isForbidden={isForbidden} />
        </Boundary>
      </div>
      <Drawer aside={loaded?.Aside} />
      {sessionExpired.value && <ExpiredSession />}
    </>
  );
}

interface ContentProps {
  route: PageRoute | undefined;
  module: PageModule | Error | undefined;
  parameters: Record<string, string>;
  isForbidden: boolean;
}

function Content({ route, module, parameters, isForbidden }: ContentProps) {
  if (!route || isForbidden) {
    const title = isForbidden ? t.shell.onlyAdministrators : t.shell.notFound;
    return (
      <Page title={title}>
        <Empty title={title} actions={<a class="button" href="/">{t.shell.toStart}</a>}>
          {isForbidden ? undefined : t.shell.notFoundHint}
        </Empty>
      </Page>
    );
  }
  if (module instanceof Error) return <BrokenPage error={module} />;
  return module ? <module.default parameters={parameters} /> : <Waiting />;
}

/** Asks to sign in above the page, which stays as it is. */
function ExpiredSession() {
  const module = useModule<Welcome>(loadWelcome, "welcome");
  return module && !(module instanceof Error) ? <module.ExpiredSessionDialog /> : null;
}

/** The module of the newest key, which names what is loaded. */
function useModule<M>(load: (() => Promise<M>) | undefined, key: string): M | Error | undefined {
  const [loaded, setLoaded] = useState<{ key: string; module: M | Error } | undefined>();
  useEffect(() => {
    let isCurrent = true;
    const set = (module: M | Error) => void (isCurrent && setLoaded({ key, module }));
    load?.().then(set, (error: unknown) => set(new Error(messageOf(error))));
    return () => void (isCurrent = false);
  }, [key]);
  return loaded?.key === key ? loaded.module : undefined;
}

/** Catches the error of a page, so that the navigation still works. */
class Boundary extends Component<{ children: ComponentChildren }, { error: unknown }> {
  override state = { error: undefined as unknown };

  override componentDidCatch(error: unknown): void {
    console.error(error);
    this.setState({ error });
  }

  override render() {
    return this.state.error === undefined ? this.props.children : <BrokenPage error={this.state.error} />;
  }
}

function BrokenPage({ error }: { error: unknown }) {
  const reload = (
    <button type="button" onClick={() => window.location.reload()}>
      {t.shell.reload}
    </button>
  );
  return (
    <Page title={t.shell.brokenPage}>
      <Empty title={t.shell.brokenPage} actions={reload}>
        {messageOf(error)}
      </Empty>
    </Page>
  );
}
