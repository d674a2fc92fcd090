"""python ros2_node.py [--ros-args -r image:=/camera/color/image_raw -r camera_info:=...]

A ROS 2 node: the poses of this package's objects in a camera's images, as Detection3DArray (bbox
is left empty) and tf. Needs rclpy, vision_msgs (4 and later) and self6d-studio. Checked against
recorded messages only, never on a running robot. Poses are those of the CAD files' own frames in
the frame of the image's header, metres; of several alike the surest is number 0.
"""

import sys
from pathlib import Path

try:
    import numpy as np
    import torch

    from self6d.geometry import matrix_to_quaternion
    from self6d.packaging import load_package
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is missing: pip install self6d-studio")

CHANNELS = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "rgba8": [0, 1, 2], "bgra8": [2, 1, 0]}


def poses(predictor, image, info):
    """What an Image and its CameraInfo show: the same call as in example.py."""
    channels = 4 if "a" in image.encoding else 3
    rows = np.frombuffer(bytes(image.data), np.uint8).reshape(image.height, image.step)
    pixels = rows[:, : image.width * channels].reshape(image.height, image.width, channels)
    rgb = np.ascontiguousarray(pixels[..., CHANNELS[image.encoding]])
    bent = {"distortion": list(info.d), "distortion_model": info.distortion_model}
    return predictor(rgb, np.reshape(info.k, (3, 3)), **(bent if any(info.d) else {}))


def main():
    import rclpy
    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node
    from sensor_msgs.msg import CameraInfo, Image
    from tf2_ros import TransformBroadcaster
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

    rclpy.init()
    node, latest = Node("self6d"), {}
    predictor = load_package(Path(__file__).parent)
    out, tf = node.create_publisher(Detection3DArray, "detections", 1), TransformBroadcaster(node)

    def seen(image):
        if "info" not in latest:
            return
        array = Detection3DArray(header=image.header)
        for number, found in enumerate(poses(predictor, image, latest["info"])):
            row, result, to = Detection3D(), ObjectHypothesisWithPose(), TransformStamped()
            row.header = to.header = image.header
            row.id = to.child_frame_id = f"{found.name}_{number}"
            result.hypothesis.class_id, result.hypothesis.score = found.name, found.score
            w, x, y, z = matrix_to_quaternion(torch.from_numpy(found.R)).tolist()
            for place, turn in (
                (result.pose.pose.position, result.pose.pose.orientation),
                (to.transform.translation, to.transform.rotation),
            ):
                place.x, place.y, place.z = map(float, found.t)
                turn.x, turn.y, turn.z, turn.w = x, y, z, w
            row.results.append(result)
            array.detections.append(row)
            tf.sendTransform(to)
        out.publish(array)

    node.create_subscription(CameraInfo, "camera_info", lambda m: latest.update(info=m), 1)
    node.create_subscription(Image, "image", seen, 1)
    rclpy.spin(node)


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error.name} is missing: source ROS 2, with vision_msgs installed")
