import fc from "fast-check";
import { expect, test } from "vitest";
import { Schedule } from "./schedule.ts";

test("items come out by their moments, whatever is put in between", () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer({ min: 0, max: 50 })), { maxLength: 200 }), (steps) => {
      const schedule = new Schedule<number>();
      const model: number[] = [];
      for (const step of steps) {
        if (step !== null) {
          schedule.add(step, step);
          model.push(step);
        } else if (model.length > 0) {
          model.sort((a, b) => a - b);
          expect(schedule.first).toBe(model[0]);
          expect(schedule.take()).toBe(model.shift());
        }
      }
      const rest = model.sort((a, b) => a - b).map(() => schedule.take());
      expect(rest).toEqual(model);
      expect(schedule.first).toBe(Number.POSITIVE_INFINITY);
    }),
  );
});
