import type { EffectiveEngine, EffectiveSettings } from "../../../api/types.ts";
import { Notice } from "../../../components/notice.tsx";
import { formatNumber } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { Section } from "../../../components/section.tsx";
import { Status } from "../../../components/status.tsx";

/** The engines that generate and edit, and why these. */
export function Effective({ settings }: { settings: EffectiveSettings }) {
  const { configuration } = t.admin;
  return (
    <Section title={configuration.effective} hint={configuration.effectiveHint}>
      {settings.problems.map((problem) => (
        <Notice key={problem} isBad>
          {problem}
        </Notice>
      ))}
      <div class="columns effective">
        <Choice title={configuration.generation} choice={settings.generation} missing={configuration.missing} />
        <Choice title={configuration.edit} choice={settings.edit} missing={configuration.cannotEdit} />
      </div>
    </Section>
  );
}

interface ChoiceProps {
  title: string;
  choice: EffectiveEngine;
  /** Said if the engine is not available. */
  missing: string;
}

function Choice({ title, choice, missing }: ChoiceProps) {
  const { configuration } = t.admin;
  const reason = configuration.reasons[choice.source];
  return (
    <section class="card stack">
      <h3>{title}</h3>
      <p class="effective-engine">
        {choice.enabled ? (
          <a class="plain" href={`/admin/engines/${encodeURIComponent(choice.engine)}`}>
            <Status tone={choice.available ? "" : "bad"}>
              <strong dir="auto">{choice.engine}</strong>
            </Status>
          </a>
        ) : (
          <Status tone="off">{configuration.disabled}</Status>
        )}
      </p>
      {choice.enabled && !choice.available && <p class="trouble">{missing}</p>}
      <dl class="facts">
        <dt>{configuration.why}</dt>
        <dd title={choice.reason}>{reason}</dd>
        <dt>{configuration.model}</dt>
        <dd dir="auto">{choice.model ?? <span class="muted">{configuration.engineChoice}</span>}</dd>
        <dt>{configuration.size}</dt>
        <dd>{choice.size ?? <span class="muted">{configuration.engineChoice}</span>}</dd>
        {choice.steps !== null && (
          <>
            <dt>{configuration.steps}</dt>
            <dd>{formatNumber(choice.steps)}</dd>
          </>
        )}
      </dl>
    </section>
  );
}
