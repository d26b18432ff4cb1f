// Package settings is how raft is run here: what is the same for every group, with the reasons.
package settings

import (
	"fmt"

	"go.etcd.io/raft/v3"
)

// inflightBytes is what a follower may have been sent and not answered. What one lacks that comes back is read from the disk with the
// group's lock held, as much as this at first: those who write wait meanwhile.
const inflightBytes = 8 << 20

// Config has all of raft's configuration but what differs from group to group: the id, the ticks, the storage and what is applied.
func Config() raft.Config {
	return raft.Config{
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             1 << 20,
		MaxCommittedSizePerReady:  4 << 20,
		MaxUncommittedEntriesSize: 0, // the group bounds what is proposed, before raft sees it
		MaxInflightMsgs:           256,
		MaxInflightBytes:          inflightBytes,
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		Logger:                    logger{},
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
	}
}

// logger keeps raft from logging: what an operator would act on is logged by the node, and logging on the hot path costs more than the
// path. What raft calls fatal is a broken invariant, and panics.
type logger struct{}

func (logger) Debug(...any)            {}
func (logger) Debugf(string, ...any)   {}
func (logger) Info(...any)             {}
func (logger) Infof(string, ...any)    {}
func (logger) Warning(...any)          {}
func (logger) Warningf(string, ...any) {}
func (logger) Error(...any)            {}
func (logger) Errorf(string, ...any)   {}

func (logger) Fatal(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (logger) Fatalf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
func (logger) Panic(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (logger) Panicf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
