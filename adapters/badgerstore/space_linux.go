package badgerstore

import (
	"errors"
	"os"
	"syscall"
)

// keepSize has fallocate leave the length of a file (FALLOC_FL_KEEP_SIZE).
const keepSize = 1

// freeSpace answers how many bytes a process without privileges may still write on the file system of a folder.
func freeSpace(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// allocate gives a file its blocks up to size, and leaves its length.
func allocate(f *os.File, size int64) error {
	for {
		if err := syscall.Fallocate(int(f.Fd()), keepSize, 0, size); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
