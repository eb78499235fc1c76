/** Operations: the job types and the workers. */

import { JobTypes } from "./job-types";
import { Workers } from "./workers";

export function Operations() {
  return (
    <>
      <JobTypes />
      <Workers />
    </>
  );
}
