"""Bags of ROS and RealSense: their files, topics, images and the reader."""
