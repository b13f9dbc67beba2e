/** Exit status of a daemon that wants to be started again: its configuration changed (upstream's Felix promises it to its supervisor). */
export const EXIT_RESTART = 129;
