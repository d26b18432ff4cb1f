// Package broker has no code; it is the map of the write path, one hop a line, each with the package that owns it.
//
//	client
//	  │ Produce frame
//	  ▼
//	server      the connection's reader goroutine reads the frame: one read(2), one allocation, the frame itself
//	  ▼
//	api         00_produce.go: parse, find the partition in the catalog (meta), check the batch (kwire)
//	  ▼
//	partition   under the group's lock: producer sequence, next offset, patch offset and epoch into the batch, propose
//	  ▼
//	replica     the proposal is queued, the group enlisted with the WAL; with other voters and nothing in flight it is stepped
//	  │           at once, and engine enqueues the appends for their nodes (transport); still under the lock, no I/O so far
//	  ▼
//	engine      Drive: one writev(2) for each peer, before the local sync begins (transport/link)
//	  │           on a follower: transport's reader ─▶ engine routes to the group ─▶ Drive, and the same WAL hop as below, behind
//	  │           which the answer leaves; on the leader the reader of the answer that completes the majority goes on below
//	  ▼
//	wal         Drive, called when the connection has no further frame. Nobody writing: this goroutine becomes the writer:
//	  │           Collect   replica steps all queued proposals as one MsgProp and hands raft's entries to the batch
//	  │           write     one pwrite with O_DSYNC (syncmethod) into zero-filled, recycled blocks (wal/ring)
//	  │           Durable   replica steps raft's responses; the commit index moves
//	  │         Somebody writing: return; the syncer goroutine takes everything that gathered as the next batch
//	  ▼
//	replica     tells the machine of the commit, then of the applied entries
//	  ▼
//	partition   high watermark, acks whose entries are committed, readers that wait
//	  ▼
//	api         Deliver, without the lock: encode the reply when a request's last batch is decided
//	  ▼
//	server      one non-blocking write(2) for all replies of a connection
//	  ▼
//	client
//
// Off the path: node moves applied records into segments (partition, seglog), takes checkpoints and frees the ring. One
// request at a time, all of the above is one goroutine from read to write.
//
// Locks, in this order: a group's lock (replica), one of the WAL's, the transport's or the engine's, which has a list of its own;
// a connection's lock (server) alone. None is held across a
// sync or a system call on a socket.
package broker
