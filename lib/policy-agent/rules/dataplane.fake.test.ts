import { describeDataplane, fakeSubject } from "./testing.ts";

describeDataplane(fakeSubject());
