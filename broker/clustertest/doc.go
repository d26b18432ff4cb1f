// Package clustertest runs brokers as processes of their own and does to them what happens to processes: they are killed,
// paused, cut off from one another, restarted one by one, and started wrongly. Meanwhile producers write, each record is
// checked (load_test.go: what was acknowledged is in the log once, at its offset, with its bytes, in its producer's order), and every
// node is asked again and again how far it is (watch_test.go: high watermarks and leader epochs do not go back).
//
// Everything else that can go wrong is tried where it is cheaper and repeats exactly: on memory files and in one process.
// Here is what only the real thing shows: sockets, signals, the page cache, exit codes.
package clustertest
