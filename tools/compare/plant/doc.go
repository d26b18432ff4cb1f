// Package plant finds out whether a comparison's verdict can be believed on the machine at hand, by asking it about what is known.
//
// The statistics have their tests with launches that are made up, which cannot have what a machine does: drift, neighbours, the way a build lies
// in memory. So whole comparisons are made, of a commit with itself, and of a commit with one that is slower by a known part: a busy spin
// in the WAL behind each write (spin.patch), which no product has. Its length is Share of the p50, measured anew before each such trial, because a
// machine's p50 is another one in the morning. How often each verdict has to come is fixed beforehand (Kind.Met).
//
// Thirty comparisons take longer than a night. So a finished trial is a line of a log, one that is interrupted goes on at the launch that it had
// come to, and asked again the runner does what the log lacks:
//
//	OUT/trials.jsonl             a Trial a line
//	OUT/SERIES/nothing-07/       a trial's launches, as package session keeps them
//	OUT/SERIES/slower-02/p50/    those that its spin was set by
//	OUT/builds/                  the programs; one with a spin goes when its trial is done
//	OUT/lock                     held while trials run
package plant
