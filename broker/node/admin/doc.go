// Package admin is what an operator may ask a running cluster, and tell it: which nodes there are and how they are, who leads what,
// and which nodes are to be part of it. The requests are JSON over the HTTP address of any node (package httpapi); "broker admin"
// is one client of them.
//
//	GET  /admin/status     Status
//	GET  /admin/leaders    Leaders
//	POST /admin/transfer   TransferRequest → TransferAnswer
//	POST /admin/add        AddRequest → AddAnswer
//	POST /admin/remove     RemoveRequest → RemoveAnswer; again and again until it says that the node is gone
//
// # Who may
//
// Nobody is authenticated. The address is 127.0.0.1:9644 by default, so whoever may log in on the machine may; an address that
// others reach belongs behind a proxy that asks who they are.
//
// # Who answers
//
// Any node takes any request. What it knows itself it answers at once, without a majority too: the catalog as of what it has
// applied, who leads what as far as it has heard, whom it reaches. What only the leaders of groups know (who is how far behind) it
// asks them for, and says so when one does not answer. What changes the cluster goes to the metadata group as commands, or to
// whoever leads the group.
//
// # Removing and replacing
//
// The placement in the metadata is the intent, a group's raft configuration the truth, and package reassign makes the second follow
// the first. So a removal is three things, each of which may be done again: the intent for each replica on the node is moved, once
// (ReplaceReplica issues the new ReplicaIDs); every leader is asked until no configuration names a replica of the node, and then until
// the metadata's does not either, from which the node hears what becomes of the others; then the metadata forgets the node, and its handshakes are refused from there on. The request does as much of that as can be done at the
// moment and says what is left; whoever sent it sends it again. If nobody does, the node is left with nothing on it and still known.
package admin
