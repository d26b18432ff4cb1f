// Package quorum is the echo of several nodes: the least that any program could do between receiving a request and
// answering that a majority has it on disk.
//
// A replicated broker's latency means nothing by itself, for the reasons that package echo gives, and one node's echo is no
// limit for it: three nodes exchange messages, and may answer before their own disk is done. So here is a leader that reads
// a request, forwards it to its followers, writes it to its own preallocated file at the same time, and answers as soon as
// a majority of all copies, its own being one, is durable. No Kafka, no raft, no index, no checksum, no election.
//
// It must be as fast as a program can be:
//
//   - It never waits for a copy that it does not need. Two followers may outrun the leader's disk, and a disk that stands
//     still delays neither the answer nor the requests behind it.
//   - It batches naturally: all that one turn has read is one message to each follower; all that has gathered when a
//     copy's sync begins is one write there. There is no timer.
//   - It pipelines: the next batch is forwarded without waiting for acknowledgements. A copy may be WindowBytes behind;
//     then batches pass it by, as long as a majority has room, and it does not count for what it was not given.
//   - A follower acknowledges as soon as its write returns, everything up to there at once. Leader and follower take four
//     system calls a request: epoll_wait, read, pwrite, write; the leader three more for each follower, to forward
//     (write) and to hear (epoll_wait, read).
//   - Steady state allocates nothing, and nobody busy-polls.
//
// # Threads
//
// A follower is one thread, as the one-node echo is. The leader has two that wait on the same epoll. Whoever gets an event
// carries it on: reads the request, forwards it, and, if the disk is idle, writes inline; meanwhile the other one waits
// for events and counts the acknowledgements. So every event wakes one thread and nothing is handed to another. The
// leader's state belongs to one of them at a time; the other does not wait for it but leaves what it has learned on a
// tray (Leader.work), because a contended lock costs four futex calls and two wake-ups.
//
// BenchmarkStructures compares the cuts that were tried. One run of it: three nodes as processes on one quiet host of two
// cores, 25 rounds of alternating slices, as the ratio to the shipped one with the 10th and 90th percentile. The shipped one
// against itself gave 1.02 [0.98-1.08] and 1.01 [0.92-1.05], so less than that is not decided:
//
//	                                     p50, 1 outstanding   time a request, 256   leader's wake-ups and CPU a request
//	two threads and the tray (shipped)   1 (109 µs)           1 (2.5 µs)            5.1   40 µs
//	one thread does all                  0.96 [0.91-1.04]     1.25 [1.18-1.31]      3.7   35 µs
//	one for events, one for the disk     1.04 [0.98-1.09]     1.00 [0.92-1.02]      5.9   44 µs
//	Straight: one client, calls in line  0.96 [0.88-1.04]     -                     3.2   31 µs
//
// What the second thread costs with one outstanding is that an acknowledgement wakes it which comes before the leader's own
// write and decides nothing yet. One thread is spared that, but waits for its own disk whether it needs it or not, reads
// nothing meanwhile, and is a quarter slower where many are outstanding: no limit for what stands beside it there. Two
// threads under a mutex instead of the tray took 0.9 futex calls a request instead of 0.2. Go's own monitor thread is the
// largest cost that is not ours (sock.Poller.Hold).
//
// So the bench takes Straight where one request is outstanding, and Leader elsewhere. With CPUs that poll when idle, where nothing
// hides what a wake-up costs, the floor's p50 was 1.06 to 1.11 × its parts with Leader and 1.02 to 1.07 with Straight (six launches
// each, in turns of three); three launches of Straight before these had 1.03 to 1.13, and the six of a whole run 1.03 to 1.10.
//
// # What an answer means
//
// Answers of a connection come in the order of its requests, and an answer means that a majority has that request and all
// before it durable, as far as there was a majority for those. A follower that was lost and comes back goes on with what
// is sent from then on: this is a floor, not a store. It counts for what it acknowledges, and for nothing that was under
// way on its old connection. A batch that can have no majority any more closes the connections of its clients, and while
// there is no majority every request does so: the answer has no room for an error.
//
// # The check
//
// A slow floor would flatter every ratio, so the quorum answers for itself as the one-node echo does. Measure takes the parts
// of an answer from the live followers, call by call and without a leader; in every launch of the bench with one request
// outstanding the floor's p50 is at most Bar × (client echo + Parts.TrialUs), TrialUs being how long a majority of hops and
// syncs takes beside one another. What both have in common, the followers, is the one-node echo's loop, and the check of that
// one covers it.
//
// The sum of hop and sync, each measured alone (Parts.BoundUs), is the limit where every node has processors of its own. On a
// host of two cores the trial took 1.17 to 1.21 × that sum and the floor 0.92 to 1.00 × the trial with its echo (three launches,
// the host taking 3 to 16% of the CPUs): the sum would call every program too slow there. By hand, "floor serve --straight" is
// the plainest leader, of which the floor was 1.03 [0.85-1.25] times, and 1.36 [1.09-1.75] times the sum, as Straight nearly was.
package quorum
