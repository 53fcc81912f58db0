package cri

import (
	"context"

	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ImageService says that every image is there already.
type ImageService struct {
	internalapi.ImageManagerService
	Images *Images
}

func (ImageService) ListImages(context.Context, *runtimeapi.ImageFilter) ([]*runtimeapi.Image, error) {
	return nil, nil
}

func (s ImageService) ImageStatus(_ context.Context, image *runtimeapi.ImageSpec, _ bool) (*runtimeapi.ImageStatusResponse, error) {
	return &runtimeapi.ImageStatusResponse{Image: &runtimeapi.Image{
		Id:       image.Image,
		RepoTags: []string{image.Image},
		Size:     1,
		Uid:      &runtimeapi.Int64Value{Value: s.Images.Find(image.Image).User},
		Spec:     image,
	}}, nil
}

func (ImageService) PullImage(_ context.Context, image *runtimeapi.ImageSpec, _ *runtimeapi.AuthConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	return image.Image, nil
}

func (ImageService) RemoveImage(context.Context, *runtimeapi.ImageSpec) error { return nil }

func (ImageService) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	none := []*runtimeapi.FilesystemUsage{{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/"}, UsedBytes: &runtimeapi.UInt64Value{}, InodesUsed: &runtimeapi.UInt64Value{}}}
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: none, ContainerFilesystems: none}, nil
}

func (ImageService) Close(context.Context) error { return nil }
