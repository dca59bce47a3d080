// Active jobs counted by user.
import type { Job } from "../../../api/types.ts";

export interface UserJobs {
  id: string;
  name: string;
  running: number;
  waiting: number;
}

/** The users with active jobs, those with most first. */
export function activeByUser(jobs: readonly Job[]): UserJobs[] {
  const users = new Map<string, UserJobs>();
  for (const job of jobs) {
    const user = users.get(job.user_id) ?? { id: job.user_id, name: job.user_name ?? job.user_id, running: 0, waiting: 0 };
    if (job.state === "running") user.running += 1;
    if (job.state === "waiting") user.waiting += 1;
    users.set(job.user_id, user);
  }
  const total = (it: UserJobs) => it.running + it.waiting;
  return [...users.values()].filter((it) => total(it) > 0).sort((a, b) => total(b) - total(a));
}
