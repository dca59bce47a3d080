import { useEffect, useState } from "preact/hooks";
import { post } from "../../api/client.ts";
import type { Job } from "../../api/types.ts";
import { Form } from "../../components/form.tsx";
import { Failure } from "../../components/notice.tsx";
import { useAction } from "../../components/resource.ts";
import { activeJobs, noteJob, onJob } from "../../jobs.ts";
import { t } from "../../text/index.ts";

/** Makes the first image. */
export function ImageStep({ onDone }: { onDone: () => void }) {
  const [prompt, setPrompt] = useState(t.welcome.firstPrompt);
  const [job, setJob] = useState<Job | undefined>();
  const start = useAction(async () => {
    const created = await post("/api/v1/jobs", { body: { prompt } });
    setJob(created);
    noteJob(created);
  });
  useEffect(() => onJob((changed) => setJob((shown) => (shown?.id === changed.id ? changed : shown))), []);
  const image = job?.files[0];
  const isRunning = job?.state === "running" || job?.state === "waiting";
  const progress = job ? activeJobs.value.get(job.id)?.progress : undefined;
  return (
    <Form onSubmit={start.run}>
      <textarea aria-label={t.welcome.imageLead} rows={2} value={prompt} required dir="auto" onInput={(event) => setPrompt(event.currentTarget.value)} />
      {image && (
        <figure class="image">
          <img src={image.url} alt={prompt} />
        </figure>
      )}
      {isRunning && (
        <div role="status" class="stack tight">
          <span class="muted">{t.welcome.generating}</span>
          <progress max={1} {...(progress?.fraction === undefined ? {} : { value: progress.fraction })} />
        </div>
      )}
      {start.error !== undefined && <Failure error={start.error} />}
      {job?.error && <Failure error={new Error(job.error.message)} />}
      <div class="row">
        {image ? (
          <button type="button" class="primary" onClick={onDone}>
            {t.welcome.finish}
          </button>
        ) : (
          <button type="submit" class="primary" disabled={start.isRunning || isRunning}>
            {t.welcome.generate}
          </button>
        )}
        {!image && (
          <button type="button" class="quiet" onClick={onDone}>
            {t.welcome.skip}
          </button>
        )}
      </div>
    </Form>
  );
}
