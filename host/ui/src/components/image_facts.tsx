import type { ComponentChildren } from "preact";
import type { GalleryImage } from "../api/types.ts";
import { thumbnailUrl } from "../api/url.ts";
import { CopyButton } from "./copy.tsx";
import { formatBytes, formatCost, formatDuration, formatTime } from "../format.ts";
import { location } from "../router.ts";
import { t } from "../text/index.ts";

/** Digits of a digest that tell two apart. */
const SHORT_DIGEST = 12;

/** Everything that made the image. */
export function ImageFacts({ image }: { image: GalleryImage }) {
  return (
    <div class="stack loose">
      <Text title={t.gallery.prompt} text={image.prompt} />
      <Text title={t.gallery.revisedPrompt} text={image.revised_prompt} />
      <Text title={t.gallery.negativePrompt} text={image.negative_prompt} />
      {image.flagged && <p class="trouble">{t.gallery.flagged}</p>}
      {image.warnings?.map((it) => (
        <p key={it} class="trouble" dir="auto">
          {it}
        </p>
      ))}
      {image.sources && image.sources.length > 0 && <Sources ids={image.sources} />}
      <dl class="facts">
        {facts(image).map(([name, value]) => (
          <Fact key={name} name={name} value={value} />
        ))}
      </dl>
      <MoreFacts image={image} />
    </div>
  );
}

function Text({ title, text }: { title: string; text: string | null | undefined }) {
  if (!text) return null;
  return (
    <section class="stack tight">
      <div class="row">
        <h3 class="muted grow">{title}</h3>
        <CopyButton text={text} label={t.gallery.copyText(title)} />
      </div>
      <p class="prompt" dir="auto">
        {text}
      </p>
    </section>
  );
}

function Sources({ ids }: { ids: readonly string[] }) {
  return (
    <section class="stack tight">
      <h3 class="muted">{t.gallery.sources}</h3>
      <div class="row">
        {ids.map((id) => (
          <a key={id} href={`/gallery?image=${id}`} class="source-link" aria-label={t.gallery.openSource}>
            <img src={thumbnailUrl(id, 128)} alt="" width={64} height={64} loading="lazy" />
          </a>
        ))}
      </div>
    </section>
  );
}

function Fact({ name, value }: { name: string; value: ComponentChildren }) {
  return (
    <>
      <dt>{name}</dt>
      <dd dir="auto">{value}</dd>
    </>
  );
}

function facts(image: GalleryImage): [string, ComponentChildren][] {
  const { gallery } = t;
  const engine = [image.binding, image.engine_version].filter(Boolean).join(" ");
  const chat = image.chat_id && `/c/${encodeURIComponent(image.chat_id)}`;
  const pairs: [string, ComponentChildren][] = [
    [gallery.model, image.model],
    [gallery.engine, engine],
    [gallery.size, image.width && image.height ? `${image.width} × ${image.height}` : image.requested_size],
    [gallery.seed, image.seed],
    [gallery.steps, image.steps],
    [gallery.strength, image.strength],
    [gallery.made, formatTime(image.created_at)],
    [gallery.took, image.duration_ms === undefined ? undefined : formatDuration(image.duration_ms)],
    [gallery.cost, image.cost && formatCost(image.cost)],
    [gallery.file, `${image.content_type.replace("image/", "").toUpperCase()}, ${formatBytes(image.size_bytes)}`],
    [gallery.chat, chat && chat !== location.value.path && <a href={chat}>{gallery.openChat}</a>],
  ];
  return pairs.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
}

/** What is rarely needed: digests, and what the engine says in its own words. */
function MoreFacts({ image }: { image: GalleryImage }) {
  const own = { ...image.parameters, ...(image.usage ? { usage: image.usage } : {}), ...image.details };
  const names = Object.keys(own);
  return (
    <details>
      <summary>{t.gallery.moreFacts}</summary>
      <dl class="facts">
        <Fact name={t.gallery.name} value={image.name} />
        <Digest name={t.gallery.digest} value={image.digest} />
        <Digest name="SHA-256" value={image.sha256} />
        {image.job_id && <Fact name={t.gallery.job} value={<code>{image.job_id}</code>} />}
        {names.map((name) => (
          <Fact key={name} name={name} value={<code>{text(own[name as keyof typeof own])}</code>} />
        ))}
      </dl>
    </details>
  );
}

function Digest({ name, value }: { name: string; value: string | null | undefined }) {
  if (!value) return null;
  return <Fact name={name} value={<code title={value}>{value.slice(0, SHORT_DIGEST)}…</code>} />;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
