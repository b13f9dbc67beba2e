import { describeInterleavings, SCENARIOS } from "./interleavings.suite.ts";

describeInterleavings({ title: "", scenarios: SCENARIOS });
