package redisstore_test

import (
	"runtime"
	"sync"
)

var starter threadStarter

type threadStarter struct {
	once sync.Once
	work chan func()
}

func (s *threadStarter) loop() {
	runtime.LockOSThread()
	for do := range s.work {
		do()
	}
}
