// Package nolog keeps raft from logging: what an operator would act on is logged by the node, and logging on the hot path costs
// more than the path. What raft calls fatal is a broken invariant, and panics.
package nolog

import (
	"fmt"

	"go.etcd.io/raft/v3"
)

// Logger is for raft.Config.
var Logger raft.Logger = logger{}

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
