import { Section } from "../../../components/section.tsx";
import { Status, type Tone } from "../../../components/status.tsx";
import { t } from "../../../text/index.ts";
import type { EngineHost } from "./types.ts";

/** The servers that share the database, and whether each serves the newest version. */
export function Hosts({ hosts }: { hosts: EngineHost[] }) {
  if (hosts.length === 0) {
    return null;
  }
  return (
    <Section title={t.engines.hosts.title}>
      <ul class="version-list">
        {hosts.map((host) => (
          <Host key={host.name} host={host} />
        ))}
      </ul>
    </Section>
  );
}

function Host({ host }: { host: EngineHost }) {
  const { hosts } = t.engines;
  const { tone, text } = hostState(host);
  return (
    <li>
      <div class="grow stack tight">
        <span class="row">
          <strong dir="auto">{host.name}</strong>
          <Status tone={tone}>{text}</Status>
        </span>
        <span class="quiet-line">{hosts.program(host.program_version)}</span>
        {host.problem !== null && (
          <span class="muted wrap" dir="auto">
            {hosts.problem(host.problem)}
          </span>
        )}
      </div>
    </li>
  );
}

function hostState(host: EngineHost): { tone: Tone; text: string } {
  const { hosts } = t.engines;
  if (host.is_loaded) {
    return { tone: "", text: hosts.loaded };
  }
  if (host.problem === null) {
    return { tone: "live", text: hosts.loading };
  }
  return { tone: "bad", text: hosts.cannot };
}
