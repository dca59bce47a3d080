import { Logo } from "../../components/logo.tsx";
import { Failure } from "../../components/notice.tsx";
import { t } from "../../text/index.ts";
import { wantsImage } from "./choices.ts";
import { setText } from "./draft.ts";
import { engines, enginesError, loadEngines } from "./engines.ts";
import { focusComposer } from "./composer_focus.ts";
import { RecentImages } from "./recent_images.tsx";

/** Stands where a conversation will be: what can be done here, and prompts to begin with. */
export function NewChat() {
  const start = (prompt: string) => {
    setText(prompt);
    focusComposer();
  };
  const isWithoutEngine = engines.value?.every((it) => !it.is_ready) === true;
  return (
    <div class="new-chat-page">
      <div class="new-chat-hero">
        <Logo />
        <h2>{t.chat.welcome}</h2>
        <p class="muted">{wantsImage.value ? t.chat.welcomeHint : t.chat.welcomeTextHint}</p>
      </div>
      {enginesError.value !== undefined && <Failure error={enginesError.value} onRetry={() => void loadEngines()} />}
      {isWithoutEngine && <p class="trouble">{engines.value?.[0]?.reason ?? t.chat.noEngine}</p>}
      <ul class="starters" aria-label={t.chat.starters}>
        {t.chat.starterPrompts.map((prompt) => (
          <li key={prompt}>
            <button type="button" onClick={() => start(prompt)}>
              {prompt}
            </button>
          </li>
        ))}
      </ul>
      <RecentImages />
    </div>
  );
}
