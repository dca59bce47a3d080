// What a person sees who is not signed in, or not yet approved.
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { Dialog } from "../../components/dialog.tsx";
import { Logo } from "../../components/logo.tsx";
import { useAction } from "../../components/resource.ts";
import { Failure } from "../../components/notice.tsx";
import { location } from "../../router.ts";
import { config, loadSession, signOut, user } from "../../session.ts";
import { t } from "../../text/index.ts";
import { SetupPage } from "./setup.tsx";
import { SignInForm } from "./sign_in.tsx";

export default function WelcomePage() {
  if (location.value.path === "/setup") return <SetupPage />;
  if (user.value?.role === "pending") return <PendingPage />;
  const needsSetup = config.value?.pinhole?.setup_needed === true;
  return (
    <Welcome title={t.welcome.signIn} lead={t.welcome.tagline}>
      {needsSetup && (
        <div class="notice">
          <div>
            <strong>{t.welcome.noCode}</strong>
            <br />
            <span class="muted">{t.welcome.noCodeHint}</span>
          </div>
        </div>
      )}
      <SignInForm />
    </Welcome>
  );
}

interface WelcomeProps {
  title: string;
  lead: string;
  children: ComponentChildren;
}

/** A quiet page with the mark and one thing to do. */
export function Welcome({ title, lead, children }: WelcomeProps) {
  useEffect(() => {
    document.title = `${title} · Pinhole`;
  }, [title]);
  return (
    <div class="welcome">
      <Backdrop />
      <main class="welcome-card" id="content">
        <div class="welcome-brand">
          <Logo />
          <span>Pinhole</span>
        </div>
        <header class="stack tight">
          <h1 tabIndex={-1}>{title}</h1>
          <p class="muted">{lead}</p>
        </header>
        {children}
      </main>
    </div>
  );
}

/** Light that falls through a hole, and the image that it draws. */
function Backdrop() {
  return (
    <svg class="welcome-backdrop" viewBox="0 0 1200 800" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
      <defs>
        <linearGradient id="beam" x1="1" x2="0">
          <stop offset="0" class="beam-near" />
          <stop offset="1" class="beam-far" />
        </linearGradient>
      </defs>
      <path d="M1200 40v720L600 400Z" fill="url(#beam)" />
      <path d="M0 640V160l600 240Z" fill="url(#beam)" />
    </svg>
  );
}

function PendingPage() {
  const check = useAction(loadSession);
  return (
    <Welcome title={t.welcome.pending} lead={t.welcome.pendingHint}>
      {check.error !== undefined && <Failure error={check.error} />}
      <div class="row">
        <button type="button" class="primary" disabled={check.isRunning} onClick={() => void check.run()}>
          {t.welcome.checkAgain}
        </button>
        <button type="button" class="quiet" onClick={() => void signOut()}>
          {t.welcome.useOtherAccount}
        </button>
      </div>
    </Welcome>
  );
}

/** Asks to sign in again above a page that stays as it is. */
export function ExpiredSessionDialog() {
  return (
    <Dialog title={t.shell.sessionExpired} onClose={() => undefined} isRequired>
      <p class="muted">{t.shell.sessionExpiredHint}</p>
      <SignInForm isAgain />
    </Dialog>
  );
}
