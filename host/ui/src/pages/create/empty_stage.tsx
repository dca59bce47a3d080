import { t } from "../../text/index.ts";

/** Before the first image: what this place is for, and prompts to try. */
export function EmptyStage({ onChoose }: { onChoose: (prompt: string) => void }) {
  return (
    <div class="empty-stage">
      <Landscape />
      <h2>{t.create.emptyTitle}</h2>
      <p class="muted">{t.create.emptyHint}</p>
      <div class="examples">
        {t.create.examples.map((prompt) => (
          <button key={prompt} type="button" class="chip" onClick={() => onChoose(prompt)}>
            {prompt}
          </button>
        ))}
      </div>
    </div>
  );
}

/** A small picture, as the built-in engine draws it. */
function Landscape() {
  return (
    <svg class="landscape" viewBox="0 0 360 220" aria-hidden="true" focusable="false">
      <defs>
        <linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">
          <stop offset="0" class="sky-high" />
          <stop offset="1" class="sky-low" />
        </linearGradient>
        <clipPath id="landscape-edge">
          <rect width="360" height="220" rx="18" />
        </clipPath>
      </defs>
      <g clip-path="url(#landscape-edge)">
        <rect width="360" height="220" fill="url(#sky)" />
        <circle cx="250" cy="92" r="30" class="sun" />
        <path d="M0 150C40 118 78 106 118 120s58 20 92-6 74-20 104 8 34 12 46 8v90H0Z" class="far-hill" />
        <path d="M0 168c46-22 84-26 128-10s70 26 116 8 82-20 116-4v58H0Z" class="middle-hill" />
        <path d="M0 196c60-18 104-16 150-4s90 16 134 2 62-8 76-2v28H0Z" class="near-hill" />
      </g>
    </svg>
  );
}
