package diskfiles

import (
	"os"
	"syscall"
)

// freeSpace answers how many bytes a process without privileges may still write on the file system of a folder.
func freeSpace(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// onlyBegin has sync_file_range wait for nothing (SYNC_FILE_RANGE_WRITE).
const onlyBegin = 2

// beginWriting has the system begin to write a part of a file to the disk. What it could not do, a sync will.
func beginWriting(f *os.File, from, length int64) {
	_ = syscall.SyncFileRange(int(f.Fd()), from, length, onlyBegin)
}
